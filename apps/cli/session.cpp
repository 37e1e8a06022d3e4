// Opens sessions.
#include "apps/cli/session.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <future>

#include "apps/cli/commands.h"
#include "apps/cli/prepare.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/library.h"
#include "frontend/config.h"

namespace mlc::cli {
namespace {

const std::vector<std::string> kKnobs = {"attention_sink_size", "context_window_size", "opt", "pipeline_parallel_stages",
                                         "prefill_chunk_size", "sliding_window_size", "tensor_parallel_shards"};

// What --overrides may not change in a library that is compiled already.
Status check_baked(const Knobs& knobs, const std::string& opt, const runtime::Module& module) {
  const Json& manifest = module.manifest();
  const std::string advice = "; compile the model again with it, or leave out --model-lib";
  for (const char* key : {"attention_sink_size", "sliding_window_size"})
    if (auto it = knobs.find(key); it != knobs.end()) {
      ASSIGN_OR_RETURN(int64_t wanted, knob_int("--overrides", key, it->second));
      int64_t compiled = find_int(manifest, key).value_or(-1);
      if (wanted != compiled)
        return Status::error(str("--overrides: ", key, "=", wanted, ", ", module.path(), " was compiled with ", compiled, advice));
    }
  if (auto it = knobs.find("prefill_chunk_size"); it != knobs.end()) {
    ASSIGN_OR_RETURN(int64_t wanted, knob_int("--overrides", "prefill_chunk_size", it->second));
    int64_t compiled = find_int(manifest, "prefill_chunk_size").value_or(0);
    if (wanted > compiled)
      return Status::error(str("--overrides: prefill_chunk_size=", wanted, ", ", module.path(), " was compiled for at most ",
                               compiled, advice));
  }
  const Json* library = find(manifest, "library");
  std::string compiled = library ? find_string(*library, "opt").value_or("?") : "?";
  if (!opt.empty() && opt != compiled)
    return Status::error(str("--overrides: opt=", opt, ", ", module.path(), " was compiled with ", compiled, advice));
  return Status::ok();
}

runtime::ModelLimits limits_of(const Json& config, const Knobs& knobs, const SessionFlags& flags) {
  runtime::ModelLimits limits{.max_sequences = flags.sequences,
                              .context_tokens = std::max<int64_t>(find_int(config, "context_window_size").value_or(0), 0),
                              .total_tokens = flags.total_tokens,
                              .prefill_chunk = 0,
                              .shuffle_pages = {}};
  if (knobs.contains("prefill_chunk_size"))
    limits.prefill_chunk = std::max<int64_t>(find_int(config, "prefill_chunk_size").value_or(0), 0);
  return limits;
}

// A compiled library says what it is for; without one `auto` looks at the machine.
Result<std::string> device_for(const SessionFlags& flags) {
  if (flags.device != "auto" || flags.model_lib.empty() || flags.model_lib.starts_with("system://")) return flags.device;
  ASSIGN_OR_RETURN(LibraryDescription description, describe_library(flags.model_lib));
  const Json* library = find(description.manifest, "library");
  return library ? find_string(*library, "kind").value_or("cpu") : "cpu";
}

// Library, tokenizer, template and weights, all of them found and named by now.
Status load(Session& s, const std::string& config_path, const runtime::ModelLimits& limits) {
  // The tokenizer takes as long as the weights of a small model: both are read at once.
  auto tokenizer = std::async(std::launch::async, [&] { return Tokenizer::load(s.folder); });
  ASSIGN_OR_RETURN(Conversation conversation, conversation_of(s.config, config_path));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::create(std::move(conversation), config_path));
  s.chat_template = std::make_unique<ChatTemplate>(std::move(chat_template));
  int64_t bytes = 0;
  for (const PlanWeight& w : s.module->plan().weights) bytes += w.bytes;
  Progress progress("loading", bytes);
  ASSIGN_OR_RETURN(s.model, runtime::Model::load(*s.device, s.module, s.folder, limits,
                                                 [&](int64_t loaded) { progress.add(loaded); }));
  ASSIGN_OR_RETURN(s.tokenizer, tokenizer.get());
  s.end_tokens = end_tokens(s.config, *s.chat_template, *s.tokenizer);
  s.engine = std::make_unique<serve::Engine>(*s.model, s.tokenizer);
  return Status::ok();
}

}  // namespace

Result<Conversation> conversation_of(const Json& config, const std::string& path) {
  const Json* object = find(config, "conv_template");
  if (object && object->is_object()) return Conversation::from_json(*object, path);
  if (object && object->is_string())
    return find_preset_2023(object->get<std::string>(), static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1)));
  return Status::error(path + ": no conv_template; run `mlc_llm gen_config` again with --conv-template");
}

void add_session_flags(CLI::App& command, SessionFlags& flags) {
  command.add_option("MODEL", flags.model, "a converted folder, a Hugging Face folder or a GGUF file")->required();
  command.add_option("--device", flags.device, "auto, cpu, opencl, vulkan, or one of several: opencl:1; see mlc_llm devices");
  command.add_option("--model-lib", flags.model_lib, "a compiled library; absent: compiled and cached");
  command.add_option("--overrides", flags.overrides, "context_window_size=2048;prefill_chunk_size=512;opt=O2");
  command.add_option("--quantization", flags.quantization, "when MODEL must be converted first");
  command.add_option("--conv-template", flags.conv_template, "when MODEL must be converted first and has no chat template");
  command.add_option("--threads", flags.threads, "CPU threads; absent: all usable cores")->check(whole_number(1, 512));
}

serve::GenerationConfig Session::generation_defaults() const {
  serve::GenerationConfig g = serve::GenerationConfig::from_mlc_config(config);
  g.stop_strings = chat_template->conversation().stop_str;
  g.stop_token_ids = ids_of(end_tokens);
  return g;
}

Result<std::unique_ptr<Session>> open_session(const SessionFlags& flags) {
  auto s = std::make_unique<Session>();
  ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(flags.overrides, "--overrides", kKnobs));
  std::string opt;
  if (auto it = knobs.find("opt"); it != knobs.end()) {
    opt = it->second;
    knobs.erase(it);
  }
  std::string library = flags.model_lib;
  if (library.empty()) RETURN_IF_ERROR(check_jit_policy());
  if (int cores = usable_threads(); flags.threads > cores)
    return Status::error(str("--threads: ", flags.threads, " is more than the ", cores,
                             " cores this process may use; leave the flag out to use them all"));
  ASSIGN_OR_RETURN(std::string device, device_for(flags));
  ASSIGN_OR_RETURN(s->device, runtime::open_device(device, {.threads = flags.threads, .index = 0, .notice = print_note}));
  ASSIGN_OR_RETURN(s->folder, prepare_folder(flags.model, {flags.quantization, flags.conv_template}));
  std::string config_path;
  ASSIGN_OR_RETURN(s->config, read_mlc_config(s->folder, config_path));
  RETURN_IF_ERROR(apply_config_knobs(knobs, s->config));
  ASSIGN_OR_RETURN(frontend::ModelConfig model_config, frontend::parse_mlc_config(s->config, "auto", config_path));
  if (library.empty()) {
    ASSIGN_OR_RETURN(library, prepare_library(s->folder, s->config, *s->device, opt.empty() ? "O2" : opt));
  }
  auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(s->module, runtime::Module::load(*s->device, library));
  if (!flags.model_lib.empty()) RETURN_IF_ERROR(check_baked(knobs, opt, *s->module));
  RETURN_IF_ERROR(load(*s, config_path, limits_of(s->config, knobs, flags)));
  for (const std::string& note : model_config.notes) print_note(note);
  s->load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return s;
}

}  // namespace mlc::cli
