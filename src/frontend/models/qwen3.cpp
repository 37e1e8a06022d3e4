// Qwen3: the llama decoder with a norm of each query and key; tied embeddings and biases of attention by
// config. Paper: Qwen3 Technical Report arXiv:2505.09388. Reference:
// huggingface.co/docs/transformers/model_doc/qwen3
#include "frontend/config_rules.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

RopeSpec rope(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("head_dim"), "rope_theta");
}

}  // namespace

const ModelDefinition& qwen3() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "qwen3",
      .architecture = "Qwen3ForCausalLM",
      .fields = {{"hidden_act", Kind::kText, 0, 0, "\"silu\""},
                 field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::flag("attention_bias", false),
                 field::heads("num_attention_heads"),
                 field::layers("num_hidden_layers"),
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 field::norm_eps("rms_norm_eps"),
                 {"rope_theta", Kind::kReal, 1, 1e15, "10000"},
                 field::vocab_size(),
                 field::flag("tie_word_embeddings", false),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 {"head_dim", Kind::kInteger, 1, 1 << 16, "128"},
                 {"dtype", Kind::kText, 0, 0, "\"float32\""},
                 field::count("max_batch_size"),
                 {"weight_block_size", Kind::kAny, 0, 0, "null"}},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"attention_bias"}, {}, KnownKey::Otherwise::kAccept},
               {{"weight_block_size"}, {}},
               // mean something only with use_sliding_window
               {{"sliding_window", "max_window_layers"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool bias = config.get_bool("attention_bias");
        return make_gated_decoder(
            parameters, config, {.qkv = "c_attn", .qkv_bias = bias, .output_bias = bias, .head_norms = true});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
      .infer = infer_short_chunk,
  };
  return definition;
}

}  // namespace mlc::frontend
