// Converts and compiles what a chat needs.
#include "apps/cli/prepare.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "apps/cli/commands.h"
#include "apps/cli/hub_model.h"
#include "apps/cli/knobs.h"
#include "apps/cli/session.h"
#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "base/user_error.h"
#include "chat/tokenizer/tokenizer.h"
#include "compile.h"
#include "formats/library.h"
#include "formats/quant/scheme.h"
#include "frontend/model.h"
#include "weights/quantize/calibrate.h"

namespace mlc::cli {
namespace {

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

// Of the cache's folder: what the user sees of the model's name. File systems take 255 bytes.
std::string name_of(const std::string& model) {
  constexpr size_t kMost = 100;
  std::filesystem::path path = std::filesystem::path(model).lexically_normal();
  std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  if (name.size() <= kMost) return name;
  size_t end = kMost;
  while (end > kMost - 4 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80)
    --end;  // no half character
  return name.substr(0, end);
}

std::string scheme_of(const CheckpointFlags& flags) {
  return flags.quantization.empty() ? kDefaultQuantization : flags.quantization;
}

// Everything that the conversion depends on.
std::string cache_folder(const CheckpointFlags& flags) {
  const weights::SourceOptions& from = flags.source;
  std::string key = str(checkpoint_stamp(from.config), "|", scheme_of(flags), "|", flags.conv_template);
  if (from.model_type != "auto") key += "|type " + from.model_type;
  if (from.source != "auto") key += "|source " + checkpoint_stamp(from.source);
  if (from.source_format != "auto") key += "|format " + from.source_format;
  if (flags.ignore_extra) key += "|extra";
  const std::string quantizer = flags.quantizer.value_or("by size");
  if (quantizer != "mlc" && weights::can_choose(find_quant_scheme(scheme_of(flags))->linear))
    key += "|quantizer " + quantizer;
  for (const ConfigKey& config : config_keys())
    if (const std::optional<int64_t>& value = flags.config.*config.value)
      key += str("|", config.name, " ", *value);
  return path_join(path_join(env::home(), "model_weights/local"),
                   str(name_of(from.config), "-", scheme_of(flags), "-", hex(checksum64(key))));
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

// An error about a folder of ours in terms of the checkpoint that the user named.
std::string about_checkpoint(std::string text, const std::string& folder, const std::string& model) {
  const std::string shown = printable(folder);
  for (size_t at = text.find(shown); at != std::string::npos; at = text.find(shown, at + model.size())) {
    size_t length = shown.size();
    if (!is_directory(model) &&
        text.compare(at + length, 1, "/") == 0)  // a file holds what the folder has in files
      length = std::min(text.find_first_of(": ", at + length), text.size()) - at;
    text.replace(at, length, model);
  }
  return text;
}

// The config first: its errors are quick to find, and so are those of tokenizer and template.
void write_config(const CheckpointFlags& flags, const std::string& folder) {
  NewFolder fresh(folder);
  gen_config(flags, folder);
  auto check = [&]() -> Status {
    std::string path;
    ASSIGN_OR_RETURN(Json config, read_mlc_config(folder, path));
    ASSIGN_OR_RETURN(const frontend::ModelConfig model, frontend::parse_mlc_config(config, "auto", folder));
    if (frontend::is_draft_head(model)) return Status::ok();  // it has no text
    RETURN_IF_ERROR(open_template(config, folder).status());
    return Tokenizer::load(folder).status();
  };
  if (Status status = check(); !status.is_ok())
    throw UserError(about_checkpoint(status.message(), folder, flags.source.config));
  fresh.keep();  // an interrupted conversion goes on where it ended
}

// Returns the folder: `folder`, or `own` where the checkpoint's config cannot be read without the flags that
// change it. The index of the weights is written last and marks a complete folder.
std::string convert(const CheckpointFlags& flags, const std::string& folder, const std::string& own) {
  OutputToErrors redirected;
  CheckpointFlags plain = flags;
  plain.config = {};
  std::string to = folder;
  try {
    write_config(plain, folder);
  } catch (const UserError&) {
    if (own == folder) throw;
    write_config(flags, own);
    to = own;
  }
  print_line(str(flags.source.config, ": converting to ", flags.quantization, " (kept in ", to, ")"));
  convert_weight(flags, to);
  end_clean_up_on_interrupt();
  return to;
}

bool is_complete(const std::string& folder) {
  return file_exists(path_join(folder, "mlc-chat-config.json")) &&
         file_exists(path_join(folder, "tensor-cache.json"));
}

Status make_cache(const std::string& directory) {
  Status made = make_directories(directory);
  return made.is_ok() ? made
                      : Status::error(made.message() + "; set MLC_LLM_HOME to a folder that can be written");
}

// The one variant that serves this device best.
Result<std::vector<Target>> best_targets(const runtime::Device& device) {
  if (device.properties.name == "cpu") return targets_for_host("auto");
  ASSIGN_OR_RETURN(std::vector<Target> all, targets_for_device(device.properties.name));
  for (const Target& t : all)
    if (device.missing_requirement(device.self, {{"kind", t.kind}, {"requires", t.required}}).empty())
      return std::vector<Target>{t};
  return Status::error(str("--device: ", device.properties.description, " has not what any variant for ",
                           device.properties.name, " needs; use --device cpu"));
}

}  // namespace

std::string file_stamp(const std::string& path) {
  struct stat info{};
  ::stat(path.c_str(), &info);
  std::error_code code;
  return str(std::filesystem::absolute(path, code).string(), "|", info.st_size, "|", info.st_mtim.tv_sec, ".",
             info.st_mtim.tv_nsec);
}

std::string checkpoint_stamp(const std::string& model) {
  std::filesystem::path path(model);
  const bool whole = is_directory(model) || path.extension() == ".json";
  const std::string folder = is_directory(model)      ? model
                             : path.has_parent_path() ? path.parent_path().string()
                                                      : ".";
  const std::string name = path.filename().string(), part = name.substr(0, name.rfind("-of-"));
  std::vector<std::string> stamps = {file_stamp(model)};
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::string file = it->path().filename().string();
    bool beside =
        file == "tokenizer.json" || (part != name && file.starts_with(part.substr(0, part.rfind('-'))));
    if ((whole || beside) && it->is_regular_file(code))
      stamps.push_back(std::to_string(checksum64(file_stamp(it->path().string()))));
  }
  std::sort(stamps.begin() + 1, stamps.end());
  return join(stamps, "|");
}

Status check_jit_policy() {
  const std::vector<std::string> known = {"ON", "OFF", "REDO", "READONLY"};
  std::string value = env::jit_policy();
  if (value == "OFF")
    return Status::error("MLC_JIT_POLICY: it is OFF, so no model is compiled; pass --model-lib");
  for (const std::string& k : known)
    if (value == k) return Status::ok();
  return Status::error(str("MLC_JIT_POLICY: found '", value, "', expected ON, OFF, REDO or READONLY",
                           did_you_mean(value, known)));
}

Result<PreparedFolder> prepare_folder(const CheckpointFlags& named) {
  CheckpointFlags flags = named;
  ASSIGN_OR_RETURN(flags.source.config, local_model(named.source.config, hub::Need::kModel));
  const std::string& model = flags.source.config;
  if (!is_directory(model) && !file_exists(model))
    return Status::error(str(model,
                             ": no such file or folder; expected a converted folder, a Hugging Face folder, "
                             "a GGUF file or HF://user/repo"));
  if (is_directory(model) && file_exists(path_join(model, "mlc-chat-config.json")))
    return PreparedFolder{model};
  if (file_exists(model) && model.ends_with("mlc-chat-config.json")) {
    std::string parent = std::filesystem::path(model).parent_path().string();
    return PreparedFolder{parent.empty() ? std::string(".") : parent};
  }
  CheckpointFlags wanted = flags, plain = flags;
  wanted.quantization = scheme_of(flags);
  ASSIGN_OR_RETURN(const QuantScheme scheme, find_quant_scheme(wanted.quantization));
  if (flags.quantizer) {
    ASSIGN_OR_RETURN(const weights::Quantizer quantizer, weights::parse_quantizer(*flags.quantizer));
    if (quantizer != weights::Quantizer::kMlc) RETURN_IF_ERROR(weights::check_choosable(scheme));
  }
  plain.config =
      {};  // the numbers are laid over the converted config, so that others need no other conversion
  const std::string folder = cache_folder(plain), own = cache_folder(wanted);
  for (const std::string& known : {folder, own})
    if (is_complete(known)) return PreparedFolder{known, true};
  RETURN_IF_ERROR(make_cache(std::filesystem::path(folder).parent_path().string()));
  return PreparedFolder{convert(wanted, folder, own), true};
}

Result<std::string> prepare_library(const std::string& name, const Json& config,
                                    const runtime::Device& device, int opt_level, const LoraRoom& room,
                                    const std::function<Status()>& before_compiling) {
  RETURN_IF_ERROR(check_jit_policy());
  ASSIGN_OR_RETURN(auto targets, best_targets(device));
  // What the code depends on: the config, the flags, this CPU, and the compiler itself.
  std::string key = str(json_text(config), "|", device.properties.name, "|O", opt_level, "|", targets[0].name,
                        "|", file_stamp("/proc/self/exe"));
  if (room.adapters > 0) key += str("|lora ", room.adapters, " of ", room.rank);
  // A folder of our own: the original keeps its (incompatible) libraries in model_lib itself.
  std::string directory = path_join(env::home(), "model_lib/cpp");
  std::string path = path_join(directory, hex(checksum64(key)) + ".so");
  std::string jit = env::jit_policy();
  if (jit != "REDO" && file_exists(path) && describe_library(path).is_ok()) return path;
  if (jit == "READONLY")
    return Status::error(
        str("MLC_JIT_POLICY: it is READONLY and no library is cached for ", name, "; pass --model-lib"));
  RETURN_IF_ERROR(make_cache(directory));
  RETURN_IF_ERROR(before_compiling());
  CompileOptions options;
  options.opt_level = opt_level;
  options.lora_adapters = room.adapters, options.lora_rank = room.rank;
  print_line(str(name, ": compiling for ", targets[0].name, " (kept in ", path, ")"));
  options.targets = std::move(targets);
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(config, name, options));
  clean_up_on_interrupt("\ninterrupted\n");
  RETURN_IF_ERROR(write_file(path, compiled.library));
  end_clean_up_on_interrupt();
  return path;
}

}  // namespace mlc::cli
