// Llama 1-3 and what shares its shape (TinyLlama, Vicuna, SmolLM2): RMSNorm, rotary embedding, grouped-query
// attention, SwiGLU; tied embeddings, biases and every kind of rope scaling by config.
//
// Papers: LLaMA arXiv:2302.13971, Llama 2 arXiv:2307.09288, Llama 3 arXiv:2407.21783, GQA arXiv:2305.13245.
//
// Reference: huggingface.co/docs/transformers/model_doc/llama
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
const ModelDefinition& llama() {
  static const ModelDefinition definition{
      .model_type = "llama",
      .architecture = "LlamaForCausalLM",
      .fields = field::of_llama({field::flag("disaggregation", false)}),
      .source_fields = {field::flag("attention_bias", false), field::flag("mlp_bias", false)},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool attention_bias = config.get_bool("attention_bias");
        return make_gated_decoder(parameters, config,
                                  {.qkv_bias = attention_bias,
                                   .output_bias = attention_bias,
                                   .mlp_bias = config.get_bool("mlp_bias")});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
