// Builds mlc-chat-config.json from the model's config, its generation config and its tokenizer.
#include "weights/gen_config.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "chat/template/conversation.h"
#include "formats/quant/scheme.h"
#include "frontend/model.h"
#include "weights/import.h"
#include "weights/sentence_transformers.h"
#include "weights/tokenizer_files.h"

namespace mlc::weights {
namespace {

// A key that generation_config.json or config.json may fill (mlc-facts 4.1).
struct FilledKey {
  const char* name;
  Json fallback;
};

const std::vector<FilledKey>& sampling_keys() {
  static const std::vector<FilledKey> keys = {{"temperature", 1.0},
                                              {"presence_penalty", 0.0},
                                              {"frequency_penalty", 0.0},
                                              {"repetition_penalty", 1.0},
                                              {"top_p", 1.0}};
  return keys;
}
const std::vector<FilledKey>& token_keys() {
  static const std::vector<FilledKey> keys = {{"pad_token_id", 0}, {"bos_token_id", 1}, {"eos_token_id", 2}};
  return keys;
}

using Files = std::vector<std::pair<std::string, const Json*>>;

// The value of a key in the first of `files` that has it and is not null.
Result<Json> filled(const FilledKey& key, const Files& files) {
  for (const auto& [path, json] : files) {
    const Json* value = find(*json, key.name);
    if (value == nullptr) continue;
    if (key.fallback.is_number_float()) {
      ASSIGN_OR_RETURN(double number, get_number(*json, key.name, path));
      return Json(number);
    }
    bool ids = value->is_number_integer() ||
               (value->is_array() && std::all_of(value->begin(), value->end(),
                                                 [](const Json& id) { return id.is_number_integer(); }));
    if (!ids)
      return Status::error(
          str(path, ": ", key.name, " is ", value->type_name(), ", expected a token id or a list of them"));
    return *value;
  }
  return key.fallback;
}

Json field_or(const frontend::ModelConfig& config, const char* key, int64_t fallback) {
  return config.fields.contains(key) && !config.fields[key].is_null() ? config.fields[key] : Json(fallback);
}

// The end ids that a config states, its language model's included; ids that can be no token's are left out.
Status add_end_ids(const std::string& path, const Json& config, std::vector<int32_t>& ids) {
  ASSIGN_OR_RETURN(Json stated, filled({"eos_token_id", Json::array()}, {{path, &config}}));
  for (const Json& one : stated.is_array() ? stated : Json::array({stated})) {
    int64_t id = find_int({{"id", one}}, "id").value_or(-1);
    bool known = std::find(ids.begin(), ids.end(), id) != ids.end();
    if (id >= 0 && id <= INT32_MAX && !known) ids.push_back(static_cast<int32_t>(id));
  }
  const Json* text = find(config, "text_config");
  return text ? add_end_ids(path, *text, ids) : Status::ok();
}

// A conversation that lets the checkpoint's own template speak. It ends at what the tokenizer and every file
// state; a default id is nothing that is stated.
Result<Conversation> own_template(const TokenizerFiles& files, const Files& stating) {
  Conversation c;
  c.name = "jinja";
  c.roles = {{"user", "user"}, {"assistant", "assistant"}, {"tool", "tool"}};
  c.role_templates = {
      {"user", "{user_message}"}, {"assistant", "{assistant_message}"}, {"tool", "{tool_message}"}};
  c.seps = {"\n"};
  c.jinja_template = files.jinja_template;
  c.template_variables = files.special.variables();
  c.stop_token_ids = files.stop_token_ids;
  for (const auto& [path, json] : stating) RETURN_IF_ERROR(add_end_ids(path, *json, c.stop_token_ids));
  return c;
}

Result<Conversation> conversation(const GenConfigOptions& options, const TokenizerFiles& files,
                                  const Json& ids, const Files& stating, const ModelSource& source) {
  if (!options.conv_template.empty()) {
    const Json& bos = ids["bos_token_id"];
    auto preset = find_preset(options.conv_template, bos.is_number_integer() ? bos.get<int32_t>() : 1);
    if (!preset.is_ok()) return Status::error("--conv-template: " + preset.status().message());
    return preset;
  }
  const bool no_talk = frontend::gives_embeddings(source.config) || frontend::is_draft_head(source.config);
  if (files.jinja_template.empty() && no_talk) return find_preset("LM");
  if (files.jinja_template.empty())
    return Status::error(str("--conv-template: missing, and ",
                             source.is_gguf ? source.config_path : source.folder,
                             " has no chat template of its own; give one of ", join(preset_names(), ", ")));
  return own_template(files, stating);
}

Result<Json> read_generation_config(const ModelSource& source) {
  std::string path = path_join(source.folder, "generation_config.json");
  if (source.is_gguf || !file_exists(path)) return Json::object();
  return read_json_file(path);
}

// A token that a side file named after the model was made has no embedding.
void note_tokens_beyond(const TokenizerFiles& files, const Json& vocab_size, const std::string& where,
                        std::vector<std::string>& notes) {
  if (!files.tokenizer || !vocab_size.is_number_integer()) return;
  int64_t rows = vocab_size.get<int64_t>();
  if (rows <= 0 || files.tokenizer->vocab_size() <= rows) return;
  notes.push_back(str(where, ": token ", shown(files.tokenizer->token_text(static_cast<int32_t>(rows))),
                      " has id ", rows, ", but the model knows ids below ", rows,
                      "; prompts with it are refused"));
}

}  // namespace

Result<GeneratedConfig> generate_config(ModelSource& source, const GenConfigOptions& options,
                                        const std::string& folder) {
  ASSIGN_OR_RETURN(QuantScheme scheme, find_quant_scheme(options.quantization));
  RETURN_IF_ERROR(check_quantization(source, scheme));
  RETURN_IF_ERROR(frontend::apply_overrides(source.config, options.overrides));
  ASSIGN_OR_RETURN(Json generation, read_generation_config(source));
  bool gguf = source.is_gguf;
  Files fill = {{path_join(source.folder, "generation_config.json"), &generation},
                {source.config_path, &source.hf_config}};
  const frontend::ModelConfig& model = source.config;
  ASSIGN_OR_RETURN(TokenizerFiles files, read_tokenizer_files(source));
  Json gguf_ids = gguf ? files.special.ids() : Json::object();
  if (gguf) fill.emplace_back(source.config_path, &gguf_ids);
  Json ids = Json::object();
  for (const FilledKey& key : token_keys()) {
    ASSIGN_OR_RETURN(ids[key.name], filled(key, fill));
  }
  Json config = {{"version", "0.1.0"}, {"model_type", model.model_type}, {"quantization", scheme.name}};
  config["model_config"] = model.fields;
  config["vocab_size"] = frontend::model_shape(model).vocab;
  for (const char* key :
       {"context_window_size", "sliding_window_size", "prefill_chunk_size", "attention_sink_size"})
    config[key] = field_or(model, key, -1);
  for (const char* key : {"tensor_parallel_shards", "pipeline_parallel_stages"})
    config[key] = field_or(model, key, 1);
  config["active_vocab_size"] = files.token_count ? Json(*files.token_count) : config["vocab_size"];
  for (const FilledKey& key : sampling_keys()) {
    ASSIGN_OR_RETURN(config[key.name], filled(key, fill));
  }
  if (find_bool(generation, "do_sample") == false)
    config["temperature"] = 0.0;  // transformers then takes the best token
  config["tokenizer_files"] = files.names;
  config["tokenizer_info"] = files.info.to_json();
  ASSIGN_OR_RETURN(Conversation talk, conversation(options, files, ids, fill, source));
  config["conv_template"] = talk.to_json();
  config.update(ids);
  const bool embeds = frontend::gives_embeddings(source.config);
  config["model_task"] = embeds ? "embedding" : "chat";
  config["embedding_metadata"] = nullptr;
  if (embeds) {
    ASSIGN_OR_RETURN(config["embedding_metadata"],
                     embedding_metadata(source.folder, frontend::is_encoder(source.config)));
  }
  if (Json source = frontend::source_config(model); !source.empty())
    config["source_config"] = std::move(source);
  std::string text = json_text(config, 2, true);
  RETURN_IF_ERROR(write_tokenizer_files(files, folder));
  RETURN_IF_ERROR(write_file(path_join(folder, "mlc-chat-config.json"), text));
  std::vector<std::string> notes = model.notes;
  notes.insert(notes.end(), files.notes.begin(), files.notes.end());
  note_tokens_beyond(files, config["vocab_size"], gguf ? source.config_path : source.folder, notes);
  return GeneratedConfig{std::move(config), std::move(notes)};
}

}  // namespace mlc::weights
