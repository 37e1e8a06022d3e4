// Gemma: the gated decoder with GELU, norms whose weights are stored less 1, and a scaled, tied embedding.
//
// Paper: arXiv:2403.08295. Reference: huggingface.co/docs/transformers/model_doc/gemma
#include <cmath>

#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

RopeSpec rope(const ModelConfig& config) { return make_rope_spec(config, config.get_int("head_dim")); }

}  // namespace

const ModelDefinition& gemma() {
  static const ModelDefinition definition{
      .model_type = "gemma",
      .architecture = "GemmaForCausalLM",
      .fields = {field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::flag("attention_bias", false),
                 field::heads("num_attention_heads"),
                 field::heads("num_key_value_heads"),
                 field::head_dim(),
                 field::layers("num_hidden_layers"),
                 field::norm_eps("rms_norm_eps"),
                 field::vocab_size(),
                 {"hidden_activation", ConfigField::Kind::kText, 0, 0, "null", {"hidden_act"}},
                 field::rope_base(),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size")},
      .keys = {{field::kActivation,
                {"gelu_pytorch_tanh", "gelu"}},  // its first configs said gelu, and meant tanh
               {{"tie_word_embeddings"}, {true}}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool bias = config.get_bool("attention_bias");
        return make_gated_decoder(parameters, config,
                                  {.qkv_bias = bias,
                                   .output_bias = bias,
                                   .activation = "gelu_tanh",
                                   .tied = true,
                                   .norms_plus_one = true,
                                   .embedding_scale = std::sqrt(double(config.get_int("hidden_size")))});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
