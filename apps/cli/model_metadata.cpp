// mlc_llm model_metadata: the metadata of a model library as JSON, and the memory that its model takes
// (mlc-facts 1.15).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/cli/commands.h"
#include "base/dtype.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/library.h"

namespace mlc::cli {
namespace {

struct Flags {
  std::string library, config;
  bool memory_only = false;
};

// An extent of a parameter's shape: a number, or the name of a field of the config.
int64_t extent(const Json& dim, const Json* config, const std::string& what) {
  if (dim.is_number_integer()) return dim.get<int64_t>();
  std::string name = dim.is_string() ? dim.get<std::string>() : "?";
  const Json* inner = config ? find(*config, "model_config") : nullptr;
  for (const Json* place : {inner, config})
    if (place)
      if (auto value = find_int(*place, name.c_str())) return *value;
  throw_if_error(Status::error(
      str(what, ": a parameter's shape has '", name, "', name the model's config with --mlc-chat-config")));
  return 0;
}

int64_t parameter_bytes(const Json& manifest, const Json* config, const std::string& what) {
  int64_t sum = 0;
  const Json* parameters = find(manifest, "params");
  if (!parameters || !parameters->is_array()) return 0;
  for (const Json& p : *parameters) {
    auto dtype = parse_dtype(find_string(p, "dtype").value_or(""));
    const Json* shape = find(p, "shape");
    int64_t bytes = dtype && shape && shape->is_array() ? size_of(*dtype) : 0;
    for (size_t i = 0; bytes > 0 && i < shape->size(); ++i)
      if (__builtin_mul_overflow(bytes, extent((*shape)[i], config, what), &bytes)) bytes = 0;
    if (bytes > 0 && __builtin_add_overflow(sum, bytes, &sum)) sum = 0;
  }
  return sum;
}

int64_t temporary_bytes(const Json& manifest) {
  int64_t most = 0;
  const Json* usage = find(manifest, "memory_usage");
  if (!usage || !usage->is_object()) return 0;
  for (const auto& [name, bytes] : usage->items())
    if (bytes.is_number_integer()) most = std::max(most, bytes.get<int64_t>());
  return most;
}

void print_metadata(const Flags& flags) {
  const Json manifest = value_or_throw(describe_library(flags.library)).manifest;
  Json config;
  if (!flags.config.empty()) config = value_or_throw(read_json_file(flags.config));
  if (!flags.memory_only) std::printf("%s\n", json_text(manifest, 2).c_str());
  const int64_t parameters =
                    parameter_bytes(manifest, flags.config.empty() ? nullptr : &config, flags.library),
                temporary = temporary_bytes(manifest);
  auto text = [](int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  std::printf("memory without the KV cache: %s (parameters %s, temporary buffers %s)\n",
              text(parameters + temporary).c_str(), text(parameters).c_str(), text(temporary).c_str());
}

}  // namespace

void add_model_metadata(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("model_metadata", "Print a model library's metadata and its memory");
  sub->add_option("LIBRARY", flags->library, "a library that compile wrote, for any system")->required();
  sub->add_option("--mlc-chat-config", flags->config,
                  "mlc-chat-config.json of its model, for names in shapes");
  sub->add_flag("--memory-only", flags->memory_only, "only the memory");
  sub->callback([flags] { print_metadata(*flags); });
}

}  // namespace mlc::cli
