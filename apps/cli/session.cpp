// Opens sessions.
#include "apps/cli/session.h"

#include <chrono>

#include "apps/cli/prepare.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

const std::vector<std::string> kKnobs = {"attention_sink_size", "context_window_size", "opt", "pipeline_parallel_stages",
                                         "prefill_chunk_size", "sliding_window_size", "tensor_parallel_shards"};

Result<Conversation> conversation_of(const Json& config, const std::string& path) {
  const Json* object = find(config, "conv_template");
  if (object && object->is_object()) return Conversation::from_json(*object, path);
  if (object && object->is_string())
    return find_preset_2023(object->get<std::string>(), static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1)));
  return Status::error(path + ": no conv_template; run `mlc_llm gen_config` again with --conv-template");
}

}  // namespace

serve::GenerationConfig Session::generation_defaults() const {
  serve::GenerationConfig g = serve::GenerationConfig::from_mlc_config(config);
  const Conversation& c = chat_template->conversation();
  g.stop_strings = c.stop_str;
  g.stop_token_ids = c.stop_token_ids;
  return g;
}

Result<std::unique_ptr<Session>> open_session(const SessionFlags& flags) {
  auto start = std::chrono::steady_clock::now();
  auto s = std::make_unique<Session>();
  ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(flags.overrides, "--overrides", kKnobs));
  std::string opt = "O2";
  if (auto it = knobs.find("opt"); it != knobs.end()) {
    opt = it->second;
    knobs.erase(it);
  }
  ASSIGN_OR_RETURN(s->device, runtime::open_device(flags.device, {.threads = flags.threads}));
  ASSIGN_OR_RETURN(s->folder, prepare_folder(flags.model, flags.quantization));
  std::string config_path;
  ASSIGN_OR_RETURN(s->config, read_mlc_config(s->folder, config_path));
  RETURN_IF_ERROR(apply_config_knobs(knobs, s->config));
  std::string library = flags.model_lib;
  if (library.empty()) {
    ASSIGN_OR_RETURN(library, prepare_library(s->folder, s->config, s->device->properties.name, opt));
  }
  ASSIGN_OR_RETURN(s->module, runtime::Module::load(*s->device, library));
  ASSIGN_OR_RETURN(s->tokenizer, Tokenizer::load(s->folder));
  ASSIGN_OR_RETURN(Conversation conversation, conversation_of(s->config, config_path));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::create(std::move(conversation), config_path));
  s->chat_template = std::make_unique<ChatTemplate>(std::move(chat_template));
  runtime::ModelLimits limits{.max_sequences = 1,
                              .context_tokens = find_int(s->config, "context_window_size").value_or(0),
                              .total_tokens = 0,
                              .prefill_chunk = 0,
                              .shuffle_pages = {}};
  if (limits.context_tokens < 0) limits.context_tokens = 0;
  ASSIGN_OR_RETURN(s->model, runtime::Model::load(*s->device, s->module, s->folder, limits));
  s->engine = std::make_unique<serve::Engine>(*s->model, s->tokenizer);
  s->load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return s;
}

}  // namespace mlc::cli
