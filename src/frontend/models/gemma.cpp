// Gemma: the llama decoder with norms whose weights are stored less 1, a gate by GELU (tanh form), embeddings
// scaled by the root of the hidden size, which are the output layer too.
//
// Paper: Gemma arXiv:2403.08295. Reference: huggingface.co/docs/transformers/model_doc/gemma
#include <cmath>

#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
const ModelDefinition& gemma() {
  using Kind = ConfigField::Kind;
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
                 {"hidden_activation", Kind::kText, 0, 0, "\"gelu_pytorch_tanh\"", {"hidden_act"}},
                 field::rope_base(),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size")},
      // "gelu" too means the tanh form, as in transformers
      .keys = {{field::kActivation, {"gelu_pytorch_tanh", "gelu"}},
               {{"attention_bias"}, {false}},
               {{"tie_word_embeddings"}, {true}}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config,
                                  {.activation = "gelu_tanh",
                                   .norms_plus_one = true,
                                   .tied = true,
                                   .embedding_scale = std::sqrt(config.get_double("hidden_size"))});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
