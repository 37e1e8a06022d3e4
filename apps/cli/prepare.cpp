// Converts and compiles what a chat needs.
#include "apps/cli/prepare.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "apps/cli/command_line.h"
#include "apps/cli/commands.h"
#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "compile.h"
#include "formats/library.h"
#include "formats/quant/scheme.h"

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

// Sends standard output to standard error while it lives: what prepares a chat is no part of its answers.
class OutputToErrors {
 public:
  OutputToErrors() {
    std::fflush(stdout);
    saved_ = ::dup(STDOUT_FILENO);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  ~OutputToErrors() {
    std::fflush(stdout);
    ::dup2(saved_, STDOUT_FILENO);
    ::close(saved_);
  }
  OutputToErrors(const OutputToErrors&) = delete;
  OutputToErrors& operator=(const OutputToErrors&) = delete;

 private:
  int saved_ = -1;
};

// Removes a folder that did not exist before, with what an error left in it, unless it is kept.
class NewFolder {
 public:
  explicit NewFolder(std::string path) : path_(std::move(path)), keep_(is_directory(path_)) {}
  ~NewFolder() {
    std::error_code code;
    if (!keep_) std::filesystem::remove_all(path_, code);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  void keep() { keep_ = true; }

 private:
  std::string path_;
  bool keep_;
};

// The config first: its errors are quick to find. The index of the weights is written last and marks a complete folder.
void convert(const std::string& model, const std::string& scheme, const std::string& conv_template, const std::string& folder) {
  OutputToErrors redirected;
  NewFolder fresh(folder);
  std::vector<std::string> gen_config = {"gen_config", model, "--quantization", scheme, "--output", folder};
  if (!conv_template.empty()) gen_config.insert(gen_config.end(), {"--conv-template", conv_template});
  run_command_line(gen_config);
  fresh.keep();  // an interrupted conversion goes on where it ended
  run_command_line({"convert_weight", model, "--quantization", scheme, "--output", folder});
  end_clean_up_on_interrupt();
}

bool is_complete(const std::string& folder) {
  return file_exists(path_join(folder, "mlc-chat-config.json")) && file_exists(path_join(folder, "tensor-cache.json"));
}

Status make_cache(const std::string& directory) {
  Status made = make_directories(directory);
  return made.is_ok() ? made : Status::error(made.message() + "; set MLC_LLM_HOME to a folder that can be written");
}

// The one variant that serves this device best.
Result<std::vector<Target>> best_targets(const runtime::Device& device) {
  if (device.properties.name == "cpu") return targets_for_host("auto");
  ASSIGN_OR_RETURN(std::vector<Target> all, targets_for_device(device.properties.name));
  for (const Target& t : all)
    if (device.missing_requirement(device.self, {{"kind", t.kind}, {"requires", t.required}}).empty()) return std::vector<Target>{t};
  return Status::error(str("--device: ", device.properties.description, " has not what any variant for ", device.properties.name,
                           " needs; use --device cpu"));
}

}  // namespace

Status check_jit_policy() {
  const std::vector<std::string> known = {"ON", "OFF", "REDO", "READONLY"};
  std::string value = env::jit_policy();
  if (value == "OFF") return Status::error("MLC_JIT_POLICY: it is OFF, so no model is compiled; pass --model-lib");
  for (const std::string& k : known)
    if (value == k) return Status::ok();
  return Status::error(str("MLC_JIT_POLICY: found '", value, "', expected ON, OFF, REDO or READONLY", did_you_mean(value, known)));
}

Result<std::string> prepare_folder(const std::string& model, const Conversion& conversion) {
  if (!is_directory(model) && !file_exists(model))
    return Status::error(str(model, ": no such file or folder; expected a converted folder, a Hugging Face folder or a GGUF file"));
  if (is_directory(model) && file_exists(path_join(model, "mlc-chat-config.json"))) return model;
  if (file_exists(model) && model.ends_with("mlc-chat-config.json")) {
    std::string parent = std::filesystem::path(model).parent_path().string();
    return parent.empty() ? std::string(".") : parent;
  }
  std::string scheme = conversion.quantization.empty() ? kDefaultQuantization : conversion.quantization;
  RETURN_IF_ERROR(find_quant_scheme(scheme).status());
  std::string key = hex(checksum64(str(checkpoint_stamp(model), "|", scheme, "|", conversion.conv_template)));
  std::string parent = path_join(env::home(), "model_weights/local");
  std::string folder = path_join(parent, str(name_of(model), "-", scheme, "-", key));
  if (is_complete(folder)) return folder;
  RETURN_IF_ERROR(make_cache(parent));
  std::fprintf(stderr, "%s: converting to %s (kept in %s)\n", model.c_str(), scheme.c_str(), folder.c_str());
  convert(model, scheme, conversion.conv_template, folder);
  return folder;
}

Result<std::string> prepare_library(const std::string& folder, const Json& config, const runtime::Device& device,
                                    const std::string& opt) {
  RETURN_IF_ERROR(check_jit_policy());
  ASSIGN_OR_RETURN(auto targets, best_targets(device));
  // What the code depends on: the config, the flags, this CPU, and the compiler itself.
  std::string key = str(config.dump(), "|", device.properties.name, "|", opt, "|", targets[0].name, "|", stamp("/proc/self/exe"));
  // A folder of our own: the original keeps its (incompatible) libraries in model_lib itself.
  std::string directory = path_join(env::home(), "model_lib/cpp");
  std::string path = path_join(directory, hex(checksum64(key)) + ".so");
  std::string jit = env::jit_policy();
  if (jit != "REDO" && file_exists(path) && describe_library(path).is_ok()) return path;
  if (jit == "READONLY")
    return Status::error(str("MLC_JIT_POLICY: it is READONLY and no library is cached for ", folder, "; pass --model-lib"));
  RETURN_IF_ERROR(make_cache(directory));
  CompileOptions options;
  ASSIGN_OR_RETURN(options.opt_level, parse_opt(opt));
  std::fprintf(stderr, "%s: compiling for %s (kept in %s)\n", folder.c_str(), targets[0].name.c_str(), path.c_str());
  options.targets = std::move(targets);
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(config, path_join(folder, "mlc-chat-config.json"), options));
  clean_up_on_interrupt("\ninterrupted\n");
  RETURN_IF_ERROR(write_file(path, compiled.library));
  end_clean_up_on_interrupt();
  return path;
}

}  // namespace mlc::cli
