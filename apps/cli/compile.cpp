// mlc_llm compile: mlc-chat-config.json -> model library.
#include "compile.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>

#include "apps/cli/checkpoint.h"
#include "apps/cli/commands.h"
#include "apps/cli/device_flag.h"
#include "apps/cli/hub_model.h"
#include "apps/cli/knobs.h"
#include "base/file.h"
#include "base/strings.h"
#include "formats/quant/scheme.h"

namespace mlc::cli {
namespace {

struct Flags {
  std::string model, quantization, model_type = "auto", device = "auto", host = "auto", opt = "O2";
  std::string system_lib_prefix = "auto", output, overrides, debug_dump, stop_after;
  std::vector<std::string> skip_passes;
  bool tree_verify = false;
  bool enable_subgroups = false;
  int64_t lora_adapters = 0, lora_rank = 0;
};

// By the suffix (mlc-facts 1.5).
bool is_static(const std::string& output) { return output.ends_with(".tar") || output.ends_with(".lib"); }

Status check_output(const std::string& output, const CompileTargets& chosen) {
  std::filesystem::path path(output);
  if (is_directory(output))
    return Status::error(str("--output: ", output, " is a directory, expected a file such as model.so"));
  std::string parent = path.has_parent_path() ? path.parent_path().string() : ".";
  if (!is_directory(parent))
    return Status::error(str("--output: the directory ", parent, " does not exist; create it first"));
  std::string suffix = path.extension().string();
  if (!chosen.suffix.empty() && suffix != chosen.suffix)
    return Status::error(str("--output: '", output,
                             "' does not fit the device's preset, expected a name ending in ",
                             chosen.suffix));
  if (!is_static(output) && suffix != chosen.host.suffix())
    print_line(str("warning: --output: '", output, "' does not end in ", chosen.host.suffix(),
                   "; a shared library for ", chosen.host.triple, " is written"));
  if (!chosen.note.empty()) print_line(chosen.note);
  return Status::ok();
}

// "auto" names the model, so that several static libraries fit into one program (mlc-facts 1.6).
Result<std::string> system_lib_prefix(const Flags& flags, const Json& config) {
  std::string prefix = flags.system_lib_prefix;
  if (prefix == "auto")
    prefix = str(find_string(config, "model_type").value_or("model"), "_",
                 find_string(config, "quantization").value_or(""), "_");
  if (flags.system_lib_prefix == "auto") std::replace(prefix.begin(), prefix.end(), '-', '_');
  bool valid = prefix.empty() || !std::isdigit(static_cast<unsigned char>(prefix[0]));
  for (char c : prefix) valid &= std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  if (!valid)
    return Status::error(str("--system-lib-prefix: found '", prefix,
                             "', expected letters, digits and _, not starting with a digit"));
  return prefix;
}

// A model holds adapters, and of a rank, or neither.
Status check_lora(const Flags& flags) {
  if ((flags.lora_adapters > 0) == (flags.lora_rank > 0)) return Status::ok();
  return Status::error(flags.lora_rank > 0
                           ? "--lora-rank: no adapters; add --lora-adapters with the number to hold at once"
                           : "--lora-adapters: no rank; add --lora-rank with the largest rank of an adapter");
}

Status compile(const Flags& flags) {
  ASSIGN_OR_RETURN(CompileTargets chosen, compile_targets(flags.device, flags.host, flags.output));
  RETURN_IF_ERROR(check_output(flags.output, chosen));
  if (!flags.debug_dump.empty())
    if (Status made = make_directories(flags.debug_dump); !made.is_ok())
      return Status::error("--debug-dump: " + made.message());
  std::string path;
  ASSIGN_OR_RETURN(const std::string model, local_model(flags.model, hub::Need::kConfig));
  ASSIGN_OR_RETURN(Json config, read_mlc_config(model, path));
  if (!flags.quantization.empty()) {
    RETURN_IF_ERROR(find_quant_scheme(flags.quantization).status());
    config["quantization"] = flags.quantization;
  }
  if (flags.model_type != "auto") config["model_type"] = flags.model_type;
  ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(flags.overrides, "--overrides", override_keys()));
  ASSIGN_OR_RETURN(auto changes, config_changes({}, knobs));
  RETURN_IF_ERROR(change_config(config, changes, path).status());
  CompileOptions options;
  ASSIGN_OR_RETURN(options.opt_level, opt_level(flags.opt));
  options.targets = std::move(chosen.targets);
  options.container = chosen.host.triple;
  options.soname = std::filesystem::path(flags.output).filename().string();
  options.static_library = is_static(flags.output);
  options.ar_archive = flags.output.ends_with(".lib");
  if (options.static_library) {
    ASSIGN_OR_RETURN(options.system_lib_prefix, system_lib_prefix(flags, config));
  }
  RETURN_IF_ERROR(check_lora(flags));
  options.lora_adapters = flags.lora_adapters, options.lora_rank = flags.lora_rank;
  options.dump_directory = flags.debug_dump;
  options.stop_after = flags.stop_after;
  options.skip_passes = flags.skip_passes;
  options.tree_verify = flags.tree_verify;
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(config, path, options));
  if (compiled.library.empty()) return Status::ok();
  clean_up_on_interrupt("\ninterrupted\n");
  RETURN_IF_ERROR(write_file(flags.output, compiled.library));
  double seconds = 0;
  for (const auto& phase : compiled.phases) seconds += phase.seconds;
  std::vector<std::string> names;
  for (const Target& t : options.targets) names.push_back(t.name);
  std::printf("%s: %s, %lld kernels for %s, %.2f s\n", printable(flags.output).c_str(),
              human_bytes(static_cast<double>(compiled.library.size())).c_str(),
              static_cast<long long>(compiled.kernels), join(names, ", ").c_str(), seconds);
  return Status::ok();
}

}  // namespace

void add_compile(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("compile", "Compile a model library; needs no weights");
  sub->add_option("MODEL", flags->model, "mlc-chat-config.json, the folder that holds it, or HF://user/repo")
      ->required();
  sub->add_option("--quantization", flags->quantization, "instead of the config's");
  add_model_type_flag(*sub, flags->model_type);
  sub->add_option(
      "--device", flags->device,
      "auto (the best of this machine), cpu, cpu-wasm, opencl, vulkan, webgpu, a class of GPU such as "
      "opencl-adreno, or a preset: "
      "android, android:adreno, android:adreno-so, mali, windows:adreno_x86");
  sub->add_option("--host", flags->host,
                  "auto (this machine), a triple (all its CPU levels), or one level's name; for a GPU the "
                  "triple of the library file");
  sub->add_flag("--enable-subgroups", flags->enable_subgroups, "WebGPU only");
  add_opt_flag(*sub, flags->opt);
  sub->add_option("--system-lib-prefix", flags->system_lib_prefix,
                  "of the symbols of a static library (.tar, .lib); auto: by model and quantization");
  sub->add_option("--output,-o", flags->output, "the library to write")->required();
  sub->add_option("--overrides", flags->overrides, "context_window_size=2048;prefill_chunk_size=512;...");
  sub->add_option("--lora-adapters", flags->lora_adapters,
                  "LoRA adapters that a loaded model can hold at once, beside --lora-rank; default 0")
      ->check(CLI::Range(0, 1024));
  sub->add_option("--lora-rank", flags->lora_rank, "the largest rank of an adapter")
      ->check(CLI::Range(0, 1024));
  sub->add_option("--debug-dump", flags->debug_dump, "directory for the IR after each pass and the assembly");
  sub->add_option("--stop-after", flags->stop_after, "frontend, graph, plan, kernel or lang");
  sub->add_flag("--tree-verify", flags->tree_verify,
                "batch_verify takes trees of proposed tokens (an engine's spec_tree_width > 1)");
  sub->add_option("--skip-passes", flags->skip_passes, "graph passes to leave out")->delimiter(',');
  sub->callback([flags] { throw_if_error(compile(*flags)); });
}

}  // namespace mlc::cli
