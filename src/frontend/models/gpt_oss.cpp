// gpt-oss: the llama decoder with biased attention whose heads have a learned sink, a window in every other
// layer, and a mixture of biased experts with a limited swiglu. MLC has no class for it: the fields are
// mixtral's.
//
// Paper: gpt-oss Model Card arXiv:2508.10925. Reference: huggingface.co/docs/transformers/model_doc/gpt_oss
#include "frontend/config_rules.h"
#include "frontend/layers/experts.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using Kind = ConfigField::Kind;

FeedForward experts(ParameterList& parameters, const ModelConfig& config, int64_t /*layer*/,
                    const std::string& block) {
  const std::string mlp = block + ".mlp.";
  return Experts(parameters, {.hidden = config.get_int("hidden_size"),
                              .inner = config.get_int("intermediate_size"),
                              .experts = config.get_int("num_local_experts"),
                              .per_token = config.get_int("num_experts_per_tok"),
                              .renormalize = true,
                              .bias = true,
                              .limit = config.get_double("swiglu_limit"),
                              .alpha = config.get_double("swiglu_alpha"),
                              .router = mlp + "gate",
                              .gate_up = mlp + "moe_gate_up_proj",
                              .down = mlp + "moe_down_proj",
                              .stacked = true,
                              .source_router = mlp + "router",
                              .source_experts = mlp + "experts"});
}

// Layers take turns, one with a window first, where layer_types does not say so by itself.
bool has_window(const ModelConfig& config, int64_t layer) {
  const Json& listed = config.get("layer_types");
  return listed.empty() ? layer % 2 == 0 : listed[static_cast<size_t>(layer)] == "sliding_attention";
}

}  // namespace

const ModelDefinition& gpt_oss() {
  static const ModelDefinition definition{
      .model_type = "gpt_oss",
      .architecture = "GptOssForCausalLM",
      .fields = field::of_llama({field::experts("num_local_experts"), field::experts("num_experts_per_tok")}),
      .source_fields = {field::layer_window(),
                        {"layer_types", Kind::kList, 0, 0, "[]"},
                        field::flag("attention_bias", true),
                        {"swiglu_limit", Kind::kReal, 1e-3, 1e9, "7.0"},
                        {"swiglu_alpha", Kind::kReal, 1e-3, 1e9, "1.702"}},
      .keys = {{field::kActivation, {"silu"}},
               {{"attention_bias", "sliding_window", "num_local_experts", "num_experts_per_tok",
                 "experts_per_token"},
                {},
                KnownKey::Otherwise::kAccept},
               {{"layer_types"}, {"sliding_attention", "full_attention"}},
               // of training, and the context before it was extended (rope_scaling)
               {{"initial_context_length"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool bias = config.get_bool("attention_bias");
        return make_gated_decoder(parameters, config,
                                  {.qkv_bias = bias,
                                   .output_bias = bias,
                                   .sinks = true,
                                   .feed_forward = experts,
                                   .adjust = [&](AttentionShape& shape, int64_t layer) {
                                     if (has_window(config, layer)) shape.window = layer_window(config);
                                   }});
      },
      .unused_sources = {"rotary_emb.inv_freq"},
      .field_scalings = {"dynamic", "linear", "llama3", "longrope", "yarn"},  // MLC has no field to disagree
  };
  return definition;
}

}  // namespace mlc::frontend
