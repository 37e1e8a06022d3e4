// Gemma 2: the gated decoder with norms before and after, tanh caps on scores and logits, and a window in
// every other layer.
//
// Paper: arXiv:2408.00118. Reference: huggingface.co/docs/transformers/model_doc/gemma2
#include <cmath>

#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using Kind = ConfigField::Kind;

double number_or(const ModelConfig& config, const std::string& key, double fallback) {
  const Json& value = config.get(key);
  return value.is_number() ? value.get<double>() : fallback;
}

// MLC has no window: its context is as long as that of the layers that have one.
void infer(ModelConfig& config) {
  const Json& window = config.get("sliding_window");
  if (config.get_int("context_window_size") != 0) return;
  config.fields["context_window_size"] = window.is_number() ? window : config.get("max_position_embeddings");
}

// Layers take turns, one with a window first, where layer_types does not say so by itself.
bool has_window(const Json& layer_types, int64_t layer) {
  if (!layer_types.is_array()) return layer % 2 == 0;
  return layer_types[static_cast<size_t>(layer)] == "sliding_attention";
}

void adjust(const ModelConfig& config, AttentionShape& shape, int64_t layer) {
  // MLC reads, but does not apply, what follows; it cuts texts at the window's length.
  if (config.get_int("max_position_embeddings") == 0) return;
  shape.scale = 1 / std::sqrt(number_or(config, "query_pre_attn_scalar", double(shape.head_dim)));
  shape.softcap = number_or(config, "attn_logit_softcapping", 0);
  if (has_window(config.get("layer_types"), layer))
    shape.window = static_cast<int64_t>(number_or(config, "sliding_window", 0));
}

ConfigField cap(std::string name) { return {std::move(name), Kind::kReal, 1e-3, 1e9, "null"}; }

}  // namespace

const ModelDefinition& gemma2() {
  static const ModelDefinition definition{
      .model_type = "gemma2",
      .architecture = "Gemma2ForCausalLM",
      .fields = {field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::flag("attention_bias", false),
                 field::heads("num_attention_heads"),
                 field::heads("num_key_value_heads"),
                 field::head_dim(),
                 field::layers("num_hidden_layers"),
                 field::norm_eps("rms_norm_eps"),
                 field::vocab_size(),
                 {"hidden_activation", Kind::kText, 0, 0, "null", {"hidden_act"}},
                 field::rope_base(),
                 field::context_window_size({}, 1),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size"),
                 cap("attn_logit_softcapping"),
                 cap("final_logit_softcapping"),
                 cap("query_pre_attn_scalar"),
                 {"sliding_window", Kind::kInteger, 1, 1 << 30, "null"}},
      .source_fields = {{"max_position_embeddings", Kind::kInteger, 1, 2147483647, "0", {}, true},
                        {"layer_types", Kind::kAny, 0, 0, "null"}},
      .keys = {{field::kActivation, {"gelu_pytorch_tanh"}},
               {{"attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar",
                 "sliding_window", "cache_implementation"},
                {},
                KnownKey::Otherwise::kAccept},
               {{"layer_types"}, {"sliding_attention", "full_attention"}},
               {{"tie_word_embeddings"}, {true}}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool bias = config.get_bool("attention_bias");
        return make_gated_decoder(
            parameters, config,
            {.qkv_bias = bias,
             .output_bias = bias,
             .activation = "gelu_tanh",
             .norms_plus_one = true,
             .tied = true,
             .embedding_scale = std::sqrt(double(config.get_int("hidden_size"))),
             .sandwich_norms = true,
             .logit_cap = number_or(config, "final_logit_softcapping", 0),
             .adjust = [&](AttentionShape& shape, int64_t layer) { adjust(config, shape, layer); }});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
      .infer = infer,
  };
  return definition;
}

}  // namespace mlc::frontend
