// Describes model libraries.
#include "apps/cli/library_info.h"

#include <cstdio>

#include "apps/cli/commands.h"
#include "base/strings.h"
#include "formats/library.h"
#include "formats/library_sections.h"

namespace mlc::cli {
namespace {

void print(const std::string& label, const std::string& value) {
  std::printf("%-16s %s\n", label.c_str(), value.c_str());
}

std::string bytes_text(int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

std::string text_of(const Json& object, const char* key) { return find_string(object, key).value_or("?"); }

std::string tokens_text(const Json& manifest, const char* key) {
  int64_t value = find_int(manifest, key).value_or(-1);
  return value > 0 ? str(value, " tokens") : "unlimited";
}

void print_build(const Json& manifest) {
  print("architecture", text_of(manifest, "architecture"));
  const Json* library = find(manifest, "library");
  if (!library) return;
  std::vector<std::string> names;
  if (const Json* variants = find(*library, "variants"); variants && variants->is_array())
    for (const Json& v : *variants)
      if (v.is_string()) names.push_back(v.get<std::string>());
  print("device", find_string(*library, "kind").value_or("cpu"));
  print("variants", join(names, ", "));
  print("optimized", text_of(*library, "opt"));
  print("ABI version", str(find_int(*library, "abi_version").value_or(0)));
}

// What the model keeps of a text: of each token, or of all of it.
void print_state(const Json& state) {
  const Json* parts = find(state, "parts");
  const int64_t layers = find_int(state, "layers").value_or(0);
  const std::string dtype =
      parts && parts->is_array() && !parts->empty() ? text_of((*parts)[0], "dtype") : "?";
  if (auto slot = find_int(state, "slot_bytes"))
    print("recurrent state", str(bytes_text(*slot * layers), " a text, ", dtype));
  const int64_t tokens = find_int(state, "page_size").value_or(0),
                window = find_int(state, "window").value_or(-1);
  if (auto page = find_int(state, "page_bytes"); page && tokens > 0)
    print("kv cache", str(bytes_text(*page * layers / tokens), " a token, ", dtype, ", pages of ", tokens,
                          window > 0 ? str(", of the last ", window, " tokens") : ""));
}

void print_states(const Json& manifest) {
  const Json* states = find(manifest, "states");
  if (!states || !states->is_array()) return;
  for (const Json& state : *states) print_state(state);
}

void print_functions(const Json& manifest) {
  const Json *functions = find(manifest, "functions"), *memory = find(manifest, "memory_usage");
  if (!functions || !functions->is_object()) return;
  print("functions", str(functions->size()));
  for (const auto& [name, function] : functions->items()) {
    auto bytes = memory ? find_int(*memory, name) : std::nullopt;
    if (bytes)
      std::printf("  %-38s %s\n", name.c_str(), ("working memory " + bytes_text(*bytes)).c_str());
    else
      std::printf("  %s\n", name.c_str());
  }
}

void print_parameters(const Json& manifest, bool tensors) {
  const Json* parameters = find(manifest, "params");
  if (!parameters || !parameters->is_array()) return;
  print("parameters", str(parameters->size(), " tensors"));
  if (!tensors) return;
  for (const Json& p : *parameters) {
    const Json* shape = find(p, "shape");
    std::printf("%s  %s  %s\n", text_of(p, "name").c_str(), shape ? json_text(*shape).c_str() : "?",
                text_of(p, "dtype").c_str());
  }
}

}  // namespace

void print_library(const std::string& path, bool tensors) {
  LibraryDescription description = value_or_throw(describe_library(path));
  const Json& m = description.manifest;
  print("library", str(path, ", ", bytes_text(static_cast<int64_t>(description.file->bytes().size()))));
  print("model", text_of(m, "model_type"));
  print("quantization", text_of(m, "quantization"));
  print("context", tokens_text(m, "context_window_size"));
  print("prefill chunk", tokens_text(m, "prefill_chunk_size"));
  print("sequences", str("at most ", find_int(m, "max_batch_size").value_or(1), " at once"));
  print("container",
        std::string(container_of({reinterpret_cast<const char*>(description.file->bytes().data()),
                                  description.file->bytes().size()})));
  print_build(m);
  print_states(m);
  print_functions(m);
  print_parameters(m, tensors);
}

}  // namespace mlc::cli
