// Qwen2 and Qwen2.5: the llama decoder with biases on the query, key and value projections; tied embeddings
// by config. Paper: Qwen2 Technical Report arXiv:2407.10671. Reference:
// huggingface.co/docs/transformers/model_doc/qwen2
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

RopeSpec rope(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("head_dim"), "rope_theta");
}

}  // namespace

const ModelDefinition& qwen2() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "qwen2",
      .architecture = "Qwen2ForCausalLM",
      .fields = {{"hidden_act", Kind::kText, 0, 0, "\"silu\""},
                 field::size("hidden_size"),
                 field::size("intermediate_size"),
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
                 field::head_dim(),
                 {"dtype", Kind::kText, 0, 0, "\"float32\""},
                 field::count("max_batch_size")},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"attention_bias", "qkv_bias", "use_qkv_bias"}, {true}},
               // mean something only with use_sliding_window
               {{"sliding_window", "max_window_layers"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config, {.qkv = "c_attn", .qkv_bias = true});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
