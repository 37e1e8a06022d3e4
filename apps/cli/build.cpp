// mlc_llm build: the build.py of 2023 (mlc-facts 1.19): converts, writes the config and compiles into dist/.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/cli/build_tree.h"
#include "apps/cli/command_line.h"
#include "apps/cli/commands.h"
#include "apps/cli/device_flag.h"
#include "apps/cli/hub_model.h"
#include "apps/cli/prepare.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "chat/template/conversation.h"
#include "formats/quant/scheme.h"
#include "hub/model_name.h"
#include "runtime/devices/registry.h"

namespace mlc::cli {
namespace {

struct Flags {
  std::string model = "auto", hf_path, quantization = kDefaultQuantization, target = "auto", reuse_lib;
  std::string artifact_path = "dist", llvm_mingw;
  int64_t use_cache = 1, max_seq_len = -1, sliding_window = -1, prefill_chunk_size = -1,
          attention_sink_size = -1;
  int64_t num_shards = 1, max_batch_size = -1;
  bool weights_only = false, model_only = false, debug_dump = false, debug_load_script = false,
       system_lib = false;
  bool presharded = false;
};

// Flags of 2023 that chose how TVM worked, and what stands in for them here.
struct Unneeded {
  const char *name, *why;
  bool takes_value;
};
constexpr Unneeded kUnneeded[] = {
    {"--cc-path", "no compiler is called, the tool links by itself", true},
    {"--db-path", "schedules are part of the tool", true},
    {"--enable-batching", "every library batches", false},
    {"--max-vocab-size", "vocabularies are kept whole", true},
    {"--no-cublas", "no cuBLAS is called", false},
    {"--no-cutlass-attn", "no CUTLASS is called", false},
    {"--no-cutlass-norm", "no CUTLASS is called", false},
    {"--pdb", "there is no Python here", false},
    {"--sep-embed", "every library has its embedding apart", false},
    {"--use-cuda-graph", "commands are recorded wherever the device can", false},
    {"--use-flash-attn-mqa", "attention is chosen by the target", false},
    {"--use-safetensors", "safetensors are found by themselves", false},
    {"--use-vllm-attention", "attention is chosen by the target", false},
};

// What a --target of 2023 is to `compile`.
struct TargetRow {
  const char *name, *label, *device, *host, *suffix;
};
constexpr TargetRow kTargets[] = {
    // keep-sorted start
    {"android", "android", "android", "auto", ".tar"},
    {"android-dylib", "android", "android:adreno-so", "auto", ".so"},
    {"cuda", "cuda", "cuda", "auto", ".so"},
    {"cuda-multiarch", "cuda", "cuda", "auto", ".so"},
    {"iphone", "iphone", "iphone", "auto", ".tar"},
    {"iphone-dylib", "iphone", "metal", "arm64-apple-ios", ".dylib"},
    {"iphone-tar", "iphone", "iphone", "auto", ".tar"},
    {"llvm", "cpu", "cpu", "auto", ".so"},
    {"mali", "mali", "mali", "auto", ".so"},
    {"metal_x86_64", "metal_x86_64", "metal:x86-64", "auto", ".dylib"},
    {"webgpu", "webgpu", "webgpu", "auto", ".wasm"},
    // keep-sorted end
};

struct Target2023 {
  std::string label, device, host = "auto", suffix = ".so";
};

Target2023 target_of(const Flags& flags) {
  Target2023 target;
  // The text of a TVM target is a kind and attributes: "llvm -mcpu=haswell".
  const size_t space = flags.target.find(' ');
  const std::string kind = flags.target.substr(0, space);
  if (space != std::string::npos)
    print_note(str("--target: '", flags.target.substr(space + 1),
                   "' told TVM of the device and is not needed for ", kind, "; see compile --device"));
  target.device = kind == "auto" ? runtime::choose_device() : kind;
  target.label = target.device;
  if (kind.starts_with("nvidia/")) target.device = target.label = "cuda";
  std::replace(target.label.begin(), target.label.end(), '/', '_');
  std::replace(target.label.begin(), target.label.end(), ':', '_');
  for (const TargetRow& row : kTargets)
    if (kind == row.name) target = {row.label, row.device, row.host, row.suffix};
  if (!flags.llvm_mingw.empty()) target.host = "x86_64-w64-mingw32", target.suffix = ".dll";
  if (flags.system_lib && target.suffix == ".so") target.suffix = ".tar";
  return target;
}

std::string last_part(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

struct Named {
  std::string name, folder;
};

// A Hugging Face folder, which alone can be built.
Named checked(Named model, const std::string& flag) {
  if (file_exists(path_join(model.folder, "mlc-chat-config.json")))
    throw UserError(str(flag, ": ", model.folder,
                        " is built already (it holds mlc-chat-config.json); give the "
                        "Hugging Face folder"));
  if (!file_exists(path_join(model.folder, "config.json")))
    throw UserError(str(flag, ": no config.json in ", model.folder, ", expected a Hugging Face folder"));
  return model;
}

Named from_hub(const Flags& flags) {
  const std::string name = last_part(flags.hf_path);
  if (flags.model != "auto" && flags.model != name)
    throw UserError(str("--model: found '", flags.model, "', expected '", name,
                        "' as --hf-path says; leave one of them out"));
  const std::string folder = path_join(path_join(flags.artifact_path, "models"), name);
  if (file_exists(path_join(folder, "config.json")) && !file_exists(path_join(folder, ".mlc-download.json")))
    return checked({name, folder}, "--hf-path");  // not of our making: what the user put there is the model
  const bool whole = hub::is_model_name(flags.hf_path);
  const std::string hub = whole ? flags.hf_path : "HF://" + flags.hf_path;
  return checked({name, value_or_throw(local_model(hub, hub::Need::kModel, folder))}, "--hf-path");
}

Named find_model(const Flags& flags) {
  if (!flags.hf_path.empty()) return from_hub(flags);
  const std::string models = path_join(flags.artifact_path, "models");
  if (flags.model != "auto") {
    if (hub::is_model_name(flags.model))
      return checked({last_part(flags.model), value_or_throw(local_model(flags.model, hub::Need::kModel))},
                     "--model");
    if (is_directory(flags.model)) return checked({last_part(flags.model), flags.model}, "--model");
    const std::string folder = path_join(models, flags.model);
    if (!is_directory(folder))
      throw UserError(str("--model: no folder ", flags.model, " and no folder ", folder,
                          "; put the model there, or name it on the hub with --hf-path"));
    return checked({last_part(flags.model), folder}, "--model");
  }
  std::vector<std::string> found;
  std::error_code code;
  for (std::filesystem::directory_iterator it(models, code), end; !code && it != end; it.increment(code))
    if (file_exists(path_join(it->path().string(), "config.json")))
      found.push_back(it->path().filename().string());
  std::sort(found.begin(), found.end());
  if (found.size() == 1) return checked({found[0], path_join(models, found[0])}, "--model");
  if (found.empty()) throw UserError(str("--model: no model in ", models, "; give --model or --hf-path"));
  throw UserError(
      str("--model: ", models, " holds ", found.size(), " models (", join(found, ", "), "); name one"));
}

// The scheme of today with the bytes that the code stood for in 2023 (docs/weight-formats.md).
std::string scheme_2023(const std::string& code) {
  return code == "q3f16_0" || code == "q4f16_0" ? code + "_2023" : code;
}

CheckpointFlags checkpoint_flags(const Flags& flags, const Named& model) {
  CheckpointFlags checkpoint;
  checkpoint.source.config = model.folder;
  checkpoint.quantization = scheme_2023(flags.quantization), checkpoint.quantizer = "mlc";
  auto set = [](int64_t value, std::optional<int64_t>& to) {
    if (value >= 0) to = value;
  };
  set(flags.max_seq_len, checkpoint.config.context_window_size);
  set(flags.sliding_window, checkpoint.config.sliding_window_size);
  set(flags.prefill_chunk_size, checkpoint.config.prefill_chunk_size);
  set(flags.attention_sink_size, checkpoint.config.attention_sink_size);
  set(flags.max_batch_size, checkpoint.config.max_batch_size);
  if (flags.num_shards != 1) checkpoint.config.tensor_parallel_shards = flags.num_shards;
  if (!template_2023(model.name).empty())
    checkpoint.conv_template = "LM";  // write_config puts the right one there
  return checkpoint;
}

// The config with the keys of 2023.
void write_config(const Flags& flags, const CheckpointFlags& checkpoint, const Named& model,
                  const BuildTree& tree) {
  std::printf("%s\n", gen_config(checkpoint, tree.params()).c_str());
  const std::string path = path_join(tree.params(), "mlc-chat-config.json");
  Json config = value_or_throw(read_json_file(path));
  config["model_lib"] = flags.reuse_lib.empty() ? tree.local_id : flags.reuse_lib;
  config["local_id"] = tree.local_id;
  if (const std::string name = template_2023(model.name); !name.empty()) {
    const auto bos = static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1));
    config["conv_template"] = value_or_throw(find_preset_2023(name, bos)).to_json();
  }
  throw_if_error(write_file(path, json_text(config, 2)));
}

// An error about --device in terms of our flag.
[[noreturn]] void throw_as_target(const std::string& text) {
  throw UserError(text.starts_with("--device") ? "--target" + text.substr(8) : text);
}

// compile, with its errors in terms of our flags.
void compile(const Flags& flags, const Target2023& target, const BuildTree& tree) {
  std::vector<std::string> words = {"compile", tree.params(), "--device", target.device,
                                    "--host",  target.host,   "--output", tree.library()};
  if (flags.debug_dump) words.insert(words.end(), {"--debug-dump", tree.folder + "/debug"});
  try {
    run_command_line(words);
  } catch (const UserError& error) {
    throw_as_target(error.what());
  }
}

void check_flags(const Flags& flags) {
  if (flags.debug_load_script)
    throw UserError("--debug-load-script: scripts of TVM are not run here; leave it out");
  if (flags.presharded)
    throw UserError("--use-presharded-weights: weights are split when they are loaded; leave it out");
  if (flags.weights_only && flags.model_only)
    throw UserError("--build-model-only: found together with --convert-weights-only; leave one of them out");
  if (!flags.reuse_lib.empty() && !flags.reuse_lib.ends_with(flags.quantization))
    throw UserError(str("--reuse-lib: '", flags.reuse_lib, "' is not for ", flags.quantization,
                        ", expected a name that ends in it"));
  if (!flags.llvm_mingw.empty())
    print_note("--llvm-mingw: not needed, the tool links Windows libraries by itself");
  throw_if_error(find_quant_scheme(flags.quantization).status());
}

void build(const Flags& flags) {
  check_flags(flags);
  const Target2023 target = target_of(flags);
  const Named model = find_model(flags);
  const CheckpointFlags checkpoint = checkpoint_flags(flags, model);
  const std::string id = model.name + "-" + flags.quantization;
  const BuildTree tree{path_join(flags.artifact_path, id), id, target.label, target.suffix};
  const std::string weights = str(checkpoint_stamp(model.folder), "|", flags.quantization);
  std::printf("Using path \"%s\" for model \"%s\"\n", printable(model.folder).c_str(),
              printable(model.name).c_str());
  if (auto known = compile_targets(target.device, target.host, tree.library()); !known.is_ok())
    throw_as_target(known.status().message());  // before the long work
  write_config(flags, checkpoint, model, tree);
  const std::string config = value_or_throw(read_file(path_join(tree.params(), "mlc-chat-config.json")));
  const std::string library =
      str(checksum64(config), "|", target.device, "|", target.host, "|", file_stamp("/proc/self/exe"));
  if (flags.use_cache != 0 && has_weights(tree, weights)) {
    std::printf("%s: unchanged, kept; --use-cache=0 makes it again\n", printable(tree.params()).c_str());
  } else if (!flags.model_only) {
    convert_weight(checkpoint, tree.params());
    end_clean_up_on_interrupt();
    throw_if_error(write_build_cache(tree, weights, ""));
  }
  if (flags.weights_only || !flags.reuse_lib.empty()) return;
  if (flags.use_cache != 0 && !flags.debug_dump && has_library(tree, library)) {
    std::printf("%s: unchanged, kept; --use-cache=0 makes it again\n", printable(tree.library()).c_str());
    return;
  }
  compile(flags, target, tree);
  throw_if_error(write_build_cache(tree, flags.model_only ? "" : weights, library));
}

void add_unneeded(CLI::App& sub) {
  for (const Unneeded& flag : kUnneeded) {
    auto note = [flag] { print_note(str(flag.name, ": not needed, ", flag.why)); };
    if (flag.takes_value)
      sub.add_option_function<std::string>(flag.name, [note](const std::string&) { note(); }, "not needed");
    else
      sub.add_flag_function(flag.name, [note](int64_t) { note(); }, "not needed");
  }
}

}  // namespace

void add_build(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("build", "Convert and compile into dist/, as build.py did in 2023");
  sub->add_option("--model", flags->model, "a folder, or one of dist/models; auto: the only one there");
  sub->add_option("--hf-path", flags->hf_path, "user/repo on the hub; kept in dist/models");
  sub->add_option("--quantization", flags->quantization, "for example q4f16_1");
  sub->add_option("--max-seq-len", flags->max_seq_len, "tokens of context; -1: the model's own");
  sub->add_option(
      "--target", flags->target,
      "auto, cuda, metal, metal_x86_64, vulkan, opencl, iphone, android, mali, llvm, or what compile takes");
  sub->add_option("--reuse-lib", flags->reuse_lib, "name of a library that serves this model too");
  sub->add_option("--artifact-path", flags->artifact_path, "folder of all that is built");
  sub->add_option("--use-cache", flags->use_cache, "0: make again what is unchanged");
  sub->add_flag("--convert-weights-only,--convert-weight-only", flags->weights_only, "no library");
  sub->add_flag("--build-model-only", flags->model_only, "no weights");
  sub->add_flag("--debug-dump", flags->debug_dump, "the IR after each pass, in debug/");
  sub->add_flag("--debug-load-script", flags->debug_load_script, "refused");
  sub->add_option("--llvm-mingw", flags->llvm_mingw, "a library for Windows; the path itself is not needed");
  sub->add_flag("--system-lib", flags->system_lib, "a static library (.tar)");
  sub->add_option("--max-batch-size", flags->max_batch_size, "sequences at once");
  sub->add_option("--num-shards", flags->num_shards, "GPUs");
  sub->add_flag("--use-presharded-weights", flags->presharded, "refused");
  sub->add_option("--sliding-window", flags->sliding_window, "-1: the model's own");
  sub->add_option("--prefill-chunk-size", flags->prefill_chunk_size, "-1: chosen");
  sub->add_option("--attention-sink-size", flags->attention_sink_size, "of a sliding window");
  add_unneeded(*sub);
  sub->callback([flags] { build(*flags); });
}

}  // namespace mlc::cli
