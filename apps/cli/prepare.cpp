// Converts and compiles what a chat needs.
#include "apps/cli/prepare.h"

#include <sys/stat.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "apps/cli/command_line.h"
#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "compile.h"
#include "formats/library.h"

namespace mlc::cli {
namespace {

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

// Changes whenever the file does: absolute path, size and modification time.
std::string stamp(const std::string& path) {
  struct stat info {};
  ::stat(path.c_str(), &info);
  std::error_code code;
  return str(std::filesystem::absolute(path, code).string(), "|", info.st_size, "|", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
}

// Of a folder: its config and weight files.
std::string checkpoint_stamp(const std::string& model) {
  if (!is_directory(model)) return stamp(model);
  std::string all = stamp(model);
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(model, code))
    if (entry.is_regular_file(code)) all += "|" + std::to_string(checksum64(stamp(entry.path().string())));
  return all;
}

std::string name_of(const std::string& model) {
  std::filesystem::path path = std::filesystem::path(model).lexically_normal();
  std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

Result<std::string> policy() {
  std::string value = env::jit_policy();
  for (const char* known : {"ON", "OFF", "REDO", "READONLY"})
    if (value == known) return value;
  return Status::error(str("MLC_JIT_POLICY: found '", value, "', expected ON, OFF, REDO or READONLY"));
}

}  // namespace

Result<std::string> prepare_folder(const std::string& model, const std::string& quantization) {
  if (!is_directory(model) && !file_exists(model))
    return Status::error(str(model, ": no such file or folder; expected a converted folder, a Hugging Face folder or a GGUF file"));
  if (is_directory(model) && file_exists(path_join(model, "mlc-chat-config.json"))) return model;
  if (file_exists(model) && model.ends_with("mlc-chat-config.json")) {
    std::string parent = std::filesystem::path(model).parent_path().string();
    return parent.empty() ? std::string(".") : parent;
  }
  std::string scheme = quantization.empty() ? kDefaultQuantization : quantization;
  std::string key = hex(checksum64(checkpoint_stamp(model) + "|" + scheme));
  std::string folder = path_join(env::home(), str("model_weights/local/", name_of(model), "-", scheme, "-", key));
  if (file_exists(path_join(folder, "mlc-chat-config.json"))) return folder;
  std::fprintf(stderr, "%s: converting to %s (kept in %s)\n", model.c_str(), scheme.c_str(), folder.c_str());
  RETURN_IF_ERROR(make_directories(folder));
  // The config is written last: it marks a complete folder.
  run_command_line({"convert_weight", model, "--quantization", scheme, "--output", folder});
  run_command_line({"gen_config", model, "--quantization", scheme, "--output", folder});
  return folder;
}

Result<std::string> prepare_library(const std::string& folder, const Json& config, const std::string& device,
                                    const std::string& opt) {
  ASSIGN_OR_RETURN(std::string jit, policy());
  if (jit == "OFF") return Status::error("MLC_JIT_POLICY: it is OFF, so the model is not compiled; pass --model-lib");
  ASSIGN_OR_RETURN(auto targets, targets_for_host("auto"));
  // What the code depends on: the config, the flags, this CPU, and the compiler itself.
  std::string key = str(config.dump(), "|", device, "|", opt, "|", targets[0].name, "|", stamp("/proc/self/exe"));
  // A folder of our own: the original keeps its (incompatible) libraries in model_lib itself.
  std::string directory = path_join(env::home(), "model_lib/cpp");
  std::string path = path_join(directory, hex(checksum64(key)) + ".so");
  if (file_exists(path) && jit != "REDO") return path;
  if (jit == "READONLY")
    return Status::error(str("MLC_JIT_POLICY: it is READONLY and no library is cached for ", folder, "; pass --model-lib"));
  RETURN_IF_ERROR(make_directories(directory));
  CompileOptions options;
  ASSIGN_OR_RETURN(options.opt_level, parse_opt(opt));
  options.targets = std::move(targets);
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(config, path_join(folder, "mlc-chat-config.json"), options));
  RETURN_IF_ERROR(write_file(path, compiled.library));
  return path;
}

}  // namespace mlc::cli
