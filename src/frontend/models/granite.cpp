// Granite 3: the llama decoder with factors on embeddings, scores, residuals and logits; tied embeddings and
// biases by config. MLC has no class for it: the fields are llama's.
//
// Paper: Power Scheduler arXiv:2408.13359. Reference: huggingface.co/docs/transformers/model_doc/granite
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

ConfigField factor(std::string name) {
  return {std::move(name), ConfigField::Kind::kReal, 1e-9, 1e9, "1.0", {}, /*always_stated=*/true};
}

}  // namespace

const ModelDefinition& granite() {
  static const ModelDefinition definition{
      .model_type = "granite",
      .architecture = "GraniteForCausalLM",
      .fields = field::of_llama(),
      .source_fields = {field::flag("attention_bias", false), field::flag("mlp_bias", false),
                        factor("embedding_multiplier"), factor("attention_multiplier"),
                        factor("residual_multiplier"), factor("logits_scaling")},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool attention_bias = config.get_bool("attention_bias");
        return make_gated_decoder(parameters, config,
                                  {.qkv_bias = attention_bias,
                                   .output_bias = attention_bias,
                                   .mlp_bias = config.get_bool("mlp_bias"),
                                   .embedding_scale = config.get_double("embedding_multiplier"),
                                   .logits_scale = 1 / config.get_double("logits_scaling"),
                                   .attention_scale = config.get_double("attention_multiplier"),
                                   .residual_scale = config.get_double("residual_multiplier")});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
