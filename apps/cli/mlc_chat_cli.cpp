// mlc_chat_cli: the command of 2023 that chats with what is in dist/ (mlc-facts 1.19). A program of that name
// is a link to mlc_llm.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "apps/cli/chat.h"
#include "apps/cli/commands.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "runtime/devices/registry.h"

namespace mlc::cli {
namespace {

struct Flags {
  std::string local_id, model = "vicuna-v1-7b", quantization = "auto", device = "auto",
                        artifact_path = "dist";
  int64_t device_id = 0;
  bool evaluate = false;
};

// The folder with a model's config, or "".
std::string find_params(const Flags& flags, const std::string& id) {
  const std::string& dist = flags.artifact_path;
  for (const std::string& folder :
       {str(dist, "/", id, "/params"), str(dist, "/prebuilt/", id), str(dist, "/prebuilt/mlc-chat-", id)})
    if (file_exists(path_join(folder, "mlc-chat-config.json"))) return folder;
  return "";
}

// --local-id, or the first quantization of --model that is there.
Result<std::string> chosen_id(const Flags& flags) {
  if (!flags.local_id.empty()) return flags.local_id;
  if (flags.quantization != "auto") return flags.model + "-" + flags.quantization;
  for (const char* code :
       {"q3f16_0", "q4f16_0", "q4f32_0", "q8f16_0", "q8f32_0", "q0f16", "q0f32", "q4f16_1"})
    if (std::string id = flags.model + "-" + code; !find_params(flags, id).empty()) return id;
  return Status::error(str("--model: no build of ", flags.model, " in ", flags.artifact_path,
                           "; give --local-id, or run `mlc_llm build` first"));
}

// The library that the config names, or "".
std::string find_library(const Flags& flags, const std::string& name, const std::string& device) {
  const std::string& dist = flags.artifact_path;
  const std::string architecture = host_architecture() == "x86_64" ? "_x86_64" : "_arm64";
  for (const std::string& folder :
       {str(dist, "/", name), str(dist, "/prebuilt/lib"), str(dist, "/prebuilt/", name)})
    for (const std::string& middle : {architecture, std::string()})
      for (const char* suffix : {".so", ".dylib", ".dll"})
        if (std::string path = str(folder, "/", name, "-", device, middle, suffix); file_exists(path))
          return path;
  return "";
}

Result<SessionFlags> find_session(const Flags& flags, const std::string& id) {
  const std::string params = find_params(flags, id);
  if (params.empty())
    return Status::error(str("--local-id: no mlc-chat-config.json for '", id, "' in ", flags.artifact_path,
                             "/", id, "/params or ", flags.artifact_path,
                             "/prebuilt; run `mlc_llm build` first"));
  const std::string path = path_join(params, "mlc-chat-config.json");
  ASSIGN_OR_RETURN(const Json config, read_json_file(path));
  SessionFlags session;
  session.checkpoint.source.config = params;
  const std::string name = find_string(config, "model_lib").value_or(id);
  const std::string best = runtime::choose_device();
  const std::vector<std::string> devices =
      flags.device == "auto" ? std::vector<std::string>{best, "cuda", "metal", "vulkan", "opencl", "cpu"}
                             : std::vector<std::string>{flags.device == "llvm" ? "cpu" : flags.device};
  session.device = devices[0];
  for (const std::string& device : devices) {
    session.model_lib = find_library(flags, name, device);
    if (session.model_lib.empty()) continue;
    session.device = device;
    break;
  }
  if (flags.device_id > 0) session.device += str(":", flags.device_id);
  std::printf("Use MLC config: %s\nUse model library: %s\n", printable(path).c_str(),
              session.model_lib.empty() ? "none found, compiled here" : printable(session.model_lib).c_str());
  return session;
}

Result<int> run(const Flags& flags) {
  if (flags.evaluate)
    return Status::error("--evaluate: measuring is a command of its own here; run `mlc_llm bench FOLDER`");
  ASSIGN_OR_RETURN(std::string id, chosen_id(flags));
  ChatFlags chat_flags;
  ASSIGN_OR_RETURN(chat_flags.session, find_session(flags, id));
  chat_flags.reload = [flags, id](const std::string& other) mutable {
    auto session = find_session(flags, other.empty() ? id : other);
    if (session.is_ok() && !other.empty()) id = other;
    return session;
  };
  return chat(std::move(chat_flags));
}

}  // namespace

void add_mlc_chat_cli(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub =
      app.add_subcommand("mlc_chat_cli", "Chat with a model of dist/, as the command of 2023 did");
  sub->add_option("--local-id", flags->local_id,
                  "<model>-<quantization>, a folder of dist/ or dist/prebuilt/");
  sub->add_option("--model", flags->model, "without --local-id: the model's name");
  sub->add_option("--quantization", flags->quantization, "without --local-id; auto: the first that is there");
  sub->add_option("--device-name", flags->device, "auto, cuda, metal, vulkan, opencl or cpu");
  sub->add_option("--device_id,--device-id", flags->device_id, "of several devices")
      ->check(whole_number(0, 1024));
  sub->add_option("--artifact-path", flags->artifact_path, "instead of dist");
  sub->add_flag("--evaluate", flags->evaluate, "refused; see bench");
  sub->callback([flags] {
    if (int code = value_or_throw(run(*flags)); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace mlc::cli
