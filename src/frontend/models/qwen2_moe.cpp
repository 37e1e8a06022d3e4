// Qwen1.5-MoE and Qwen2-57B-A14B: qwen2 with a mixture of experts beside an expert that all tokens share,
// which a sigmoid gate weighs. Paper: Qwen2 Technical Report arXiv:2407.10671. Reference:
// huggingface.co/docs/transformers/model_doc/qwen2_moe
#include "frontend/layers/experts.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

FeedForward feed_forward(ParameterList& parameters, const ModelConfig& config, int64_t /*layer*/,
                         const std::string& block) {
  const std::string mlp = block + ".mlp.", one = mlp + "shared_expert.";
  const int64_t hidden = config.get_int("hidden_size"),
                inner = config.get_int("shared_expert_intermediate_size");
  const Experts experts(parameters, {.hidden = hidden,
                                     .inner = config.get_int("moe_intermediate_size"),
                                     .experts = config.get_int("num_experts"),
                                     .per_token = config.get_int("num_experts_per_tok"),
                                     .renormalize = config.get_bool("norm_topk_prob"),
                                     .router = mlp + "gate",
                                     .gate_up = mlp + "moe_gate_up_proj",
                                     .down = mlp + "moe_down_proj",
                                     .source_router = mlp + "gate",
                                     .source_experts = mlp + "experts"});
  const Linear gate_up(
      parameters, one + "gate_up_proj", hidden, 2 * inner,
      {.sources = {one + "gate_proj", one + "up_proj"}, .sharding = {.axis = 0, .segments = {inner, inner}}});
  const GatedMlp shared("silu", gate_up,
                        Linear(parameters, one + "down_proj", inner, hidden, {.sharding = {.axis = 1}}));
  const Linear gate(parameters, mlp + "shared_expert_gate", hidden, 1);
  return [=](graph::GraphBuilder& g, graph::Value* x) {
    graph::Value* weight = g.activation(gate(g, x), "sigmoid");
    return g.add(experts(g, x), g.op("expert_sum", {shared(g, x), weight})[0]);
  };
}

RopeSpec rope(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("head_dim"), "rope_theta");
}

}  // namespace

const ModelDefinition& qwen2_moe() {
  using Kind = ConfigField::Kind;
  using enum KnownKey::Otherwise;
  static const ModelDefinition definition{
      .model_type = "qwen2_moe",
      .architecture = "Qwen2MoeForCausalLM",
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
                 field::count("max_batch_size"),
                 field::size("moe_intermediate_size"),
                 field::size("shared_expert_intermediate_size"),
                 field::experts("num_experts_per_tok"),
                 field::experts("num_experts"),
                 {"decoder_sparse_step", Kind::kInteger, 1, 1, "1"},
                 field::flag("norm_topk_prob", false)},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"attention_bias", "qkv_bias", "use_qkv_bias"}, {true}},
               {{"decoder_sparse_step"}, {1}},  // every layer has experts
               {{"mlp_only_layers"}, {}},
               // mean something only with use_sliding_window
               {{"sliding_window", "max_window_layers"}, {}, kAccept}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config,
                                  {.qkv = "c_attn", .qkv_bias = true, .feed_forward = feed_forward});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
