// Mixtral: the llama decoder with a mixture of gated MLPs, two experts a token with weights that add up to 1,
// and where the checkpoint has one a window in every layer.
// Paper: Mixtral of Experts arXiv:2401.04088. Reference:
// huggingface.co/docs/transformers/model_doc/mixtral
#include "frontend/config_rules.h"
#include "frontend/layers/experts.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

FeedForward experts(ParameterList& parameters, const ModelConfig& config, int64_t /*layer*/,
                    const std::string& block) {
  const std::string source = block + ".block_sparse_moe";
  return Experts(parameters, {.hidden = config.get_int("hidden_size"),
                              .inner = config.get_int("intermediate_size"),
                              .experts = config.get_int("num_local_experts"),
                              .per_token = config.get_int("num_experts_per_tok"),
                              .renormalize = true,
                              .router = block + ".moe.gate",
                              .gate_up = block + ".moe.e1_e3",
                              .down = block + ".moe.e2",
                              .source_router = source + ".gate",
                              .source_experts = source + ".experts",
                              .source_gate = "w1",
                              .source_up = "w3",
                              .source_down = "w2"});
}

}  // namespace

const ModelDefinition& mixtral() {
  static const ModelDefinition definition{
      .model_type = "mixtral",
      .architecture = "MixtralForCausalLM",
      .fields = field::of_llama({field::flag("disaggregation", false), field::experts("num_local_experts"),
                                 field::experts("num_experts_per_tok")}),
      .source_fields = {field::layer_window()},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"router_jitter_noise"}, {}, KnownKey::Otherwise::kAccept}},  // of training
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config,
                                  {.window = layer_window(config), .feed_forward = experts});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
