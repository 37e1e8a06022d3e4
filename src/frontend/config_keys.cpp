// The rules for keys that all models share, and the report on what no rule knows.
#include "frontend/config_keys.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "formats/checked.h"
#include "frontend/config_nested.h"

namespace mlc::frontend {
namespace {

constexpr size_t kListed = 40;  // names in a note

// Nothing that a model computes depends on these: training, file keeping, sampling (gen_config reads that),
// labels.
const std::vector<std::string>& harmless_keys() {
  static const std::vector<std::string> keys = {
      "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_flash_attn_2_enabled",
      "_name_or_path", "_pre_quantization_dtype", "architectures", "attn_implementation", "auto_map",
      "bad_words_ids", "chunk_size_feed_forward", "cross_attention_hidden_size", "custom_pipelines",
      "diversity_penalty", "do_sample", "dtype", "early_stopping", "exponential_decay_length_penalty",
      "finetuning_task", "frequency_penalty", "gradient_checkpointing", "id2label", "initializer_range",
      "is_decoder", "is_llama_config", "label2id", "length_penalty", "max_length", "max_new_tokens",
      "min_length", "min_p", "model_max_length", "model_type", "name_or_path", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences",
      "output_attentions", "output_hidden_states", "output_past", "output_router_logits", "output_scores",
      "padding_side", "prefix", "presence_penalty", "pretraining_tp", "problem_type", "remove_invalid_values",
      "repetition_penalty", "return_dict", "return_dict_in_generate", "router_aux_loss_coef",
      "suppress_tokens", "begin_suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss",
      "tie_encoder_decoder", "tokenizer_class", "tokenizer_type", "top_k", "top_p", "torch_dtype",
      "torchscript", "transformers.js_config", "transformers_version", "typical_p", "unsloth_fixed",
      "unsloth_version", "use_bfloat16", "use_cache", "use_flash_attn", "use_flash_attention", "weight_path",
      "init_std",
      // read elsewhere: formats/packing.h, config_rope.h
      "original_max_position_embeddings", "compression_config", "quantization", "quantization_config",
      "rope_parameters", "rope_scaling"};
  return keys;
}

bool is_harmless(const std::string& key) {
  for (const char* end : {"dropout", "_pdrop", "_token_id", "_token_ids", "_token", "_dropout_prob"})
    if (key.ends_with(end)) return true;
  return std::ranges::find(harmless_keys(), key) != harmless_keys().end();
}

// Keys by which other models differ from those that are built, with the values that mean no difference.
const std::vector<KnownKey>& common_keys() {
  using enum KnownKey::Otherwise;
  static const std::vector<KnownKey> keys = {
      // rotation
      {{"partial_rotary_factor", "rotary_pct", "rotary_percentage", "rope_ratio", "rope_scaling_factor"},
       {1}},
      {{"rotary_dim"}, {}, kRefuse, "head_dim"},
      {{"rope_interleaved", "rope_interleave", "use_mrope", "use_dynamic_ntk", "use_logn_attn"}, {false}},
      {{"rope_type"}, {"default"}},
      {{"use_rope"}, {true}},
      {{"no_rope_layers"}, {1}},
      {{"position_embedding_type"}, {"rope", "rotary"}},
      {{"alibi", "use_alibi"}, {false}},
      // which positions a token attends to
      {{"layer_types"}, {"full_attention"}},
      {{"use_sliding_window", "use_bidirectional_attention", "is_encoder_decoder", "add_cross_attention"},
       {false}},
      {{"sliding_window"}, {}, kNote, "", "context_window_size"},
      {{"attention_chunk_size"}, {}, kRefuse, "", "context_window_size"},
      {{"is_causal"}, {true}},
      {{"pruned_heads"}, {}},
      // scores, logits, norms and biases
      {{"attn_logit_softcapping", "final_logit_softcapping"}, {0}},
      {{"query_pre_attn_scalar"}, {}, kRefuse, "head_dim"},
      {{"scale_attn_weights"}, {true}},
      {{"scale_attn_by_inverse_layer_idx"}, {false}},
      {{"embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale", "scale_emb"}, {1}},
      {{"attention_multiplier", "clip_qkv"}, {}},
      {{"qk_norm", "use_qk_norm", "qk_layernorm"}, {false}},
      {{"use_parallel_residual", "parallel_attn"}, {false}},
      {{"attention_bias", "mlp_bias", "qkv_bias", "use_qkv_bias", "use_bias", "bias"}, {false}},
      // mixtures
      {{"num_experts", "num_local_experts", "n_routed_experts"}, {0}},
      {{"num_experts_per_tok", "n_shared_experts", "num_nextn_predict_layers"}, {0}, kNote},
  };
  return keys;
}

const KnownKey* find_key(const std::vector<KnownKey>& keys, const std::string& name) {
  auto it = std::ranges::find_if(
      keys, [&](const KnownKey& key) { return std::ranges::find(key.names, name) != key.names.end(); });
  return it == keys.end() ? nullptr : &*it;
}

// Of the rules for all models, "head_dim" is the field that the config class has for it.
const Json* number_field(const ModelConfig& config, const std::string& name) {
  const ShapeFields& shape = model_definition(config.model_type).shape;
  const std::string& field = name == "head_dim" ? shape.head_dim : name;
  const Json* value = config.has(field) ? &config.get(field) : nullptr;
  return value && value->is_number() ? value : nullptr;
}

bool is_neutral(const ModelConfig& config, const KnownKey& key, const Json& value) {
  if (key.otherwise == KnownKey::Otherwise::kAccept) return true;
  if (const Json* field = number_field(config, key.equal_to); field && value == *field) return true;
  if (const Json* field = number_field(config, key.at_least);  // 0: not known yet
      field && *field > 0 && value.is_number() && value >= *field)
    return true;
  auto listed = [&](const Json& v) { return std::ranges::find(key.values, v) != key.values.end(); };
  return listed(value) || (value.is_array() && std::all_of(value.begin(), value.end(), listed));
}

// "silu or swish", "16 as head_dim".
std::string expectation(const ModelConfig& config, const KnownKey& key) {
  std::vector<std::string> texts;
  for (const Json& value : key.values)
    texts.push_back(value.is_string() ? value.get<std::string>() : json_text(value));
  if (const Json* field = number_field(config, key.equal_to))
    texts.push_back(str(json_text(*field), " as ", key.equal_to));
  if (const Json* field = number_field(config, key.at_least))
    texts.push_back(str("at least the ", key.at_least, " ", json_text(*field)));
  return texts.empty() ? "none" : join(texts, " or ");
}

// The name under which the value of a field stands in `source`, as read_field finds it.
std::string name_in(const ConfigField& field, const Json& source) {
  if (find(source, field.name)) return field.name;
  for (const std::string& alias : field.aliases)
    if (find(source, alias)) return alias;
  return "";
}

// Whether the key is a field or another name of one; of two names with different values the second is
// reported.
bool is_field(const ModelDefinition& definition, const Json& source, const std::string& key,
              std::vector<std::string>& left) {
  for (const std::vector<ConfigField>* fields :
       {&definition.fields, &definition.text_fields, &definition.source_fields})
    for (const ConfigField& field : *fields) {
      if (field.name != key && std::ranges::find(field.aliases, key) == field.aliases.end()) continue;
      const std::string read = name_in(field, source);
      if (read != key && source[read] != source[key])
        left.push_back(str(shown_key(key, source[key]), " beside ", shown_key(read, source[read])));
      return true;
    }
  return false;
}

void note_left(ModelConfig& config, const std::vector<std::string>& left, const std::string& what) {
  if (left.empty()) return;
  std::vector<std::string> listed(left.begin(),
                                  left.begin() + static_cast<int64_t>(std::min(left.size(), kListed)));
  const std::string more = left.size() > kListed ? str(" and ", left.size() - kListed, " more") : "";
  config.notes.push_back(str(what, ": not applied by models of type ", config.model_type, ": ",
                             join(listed, ", "), more,
                             "; if the checkpoint was trained with them, answers differ"));
}

}  // namespace

std::string shown_key(const std::string& name, const Json& value) {
  return str("key ", shown_name(name), " (", shown_value(value), ")");
}

Status check_keys(ModelConfig& config, const Json& source, const std::vector<std::string>& applied,
                  const std::string& what) {
  const ModelDefinition& definition = model_definition(config.model_type);
  std::vector<std::string> left;
  for (const auto& [name, value] : source.items()) {
    if (value.is_null() || (value.is_structured() && value.empty())) continue;
    if (std::ranges::find(applied, name) != applied.end()) continue;
    const KnownKey* key = find_key(definition.keys, name);
    if (is_field(definition, source, name, left) && !key) continue;
    if (!key && is_harmless(name)) continue;
    if (!key) key = find_key(common_keys(), name);
    if (key && is_neutral(config, *key, value)) continue;
    if (key && key->otherwise == KnownKey::Otherwise::kRefuse)
      return Status::error(str(what, ": key '", name, "' is ", shown_value(value), ", expected ",
                               expectation(config, *key), "; this variant of the model is not built"));
    left.push_back(shown_key(name, value));
  }
  note_left(config, left, what);
  return Status::ok();
}

Status check_alone(const Json& hf, const std::string& what) {
  const Json* text = find(hf, kTextConfig);
  if (!text || !text->is_object()) return Status::ok();
  return Status::error(str(what, ": key 'text_config' makes it a model around the text model '",
                           find_string(*text, "model_type").value_or("unknown"),
                           "' (for images or sound), expected a "
                           "text model; give a checkpoint of the text model alone"));
}

std::string shown_value(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    return std::isnan(value.get<double>()) ? "NaN" : value.get<double>() < 0 ? "-Infinity" : "Infinity";
  std::string text = json_text(value, -1, /*ascii=*/true);
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

}  // namespace mlc::frontend
