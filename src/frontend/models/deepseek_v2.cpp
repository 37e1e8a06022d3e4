// DeepSeek-V2 and its Lite: attention over a cached latent, a mixture of experts beside shared ones behind
// the first layers. Paper: DeepSeek-V2 arXiv:2405.04434. Reference:
// huggingface.co/docs/transformers/model_doc/deepseek_v2
#include <cmath>

#include "frontend/config_rules.h"
#include "frontend/layers/experts.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/layers/latent_attention.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

// Of scores: what yarn's longer context takes from their spread, squared, where the config says so.
double score_scale(const ModelConfig& config) {
  const double size =
      static_cast<double>(config.get_int("qk_nope_head_dim") + config.get_int("qk_rope_head_dim"));
  const Json& scaling = stated_scaling(config);
  const double factor = find_number(scaling, "factor").value_or(1),
               mscale = find_number(scaling, "mscale_all_dim").value_or(0);
  const double spread = factor > 1 ? 0.1 * mscale * std::log(factor) + 1 : 1;
  return spread * spread / std::sqrt(size);
}

LatentShape latent_shape(const ModelConfig& config) {
  return {.hidden = config.get_int("hidden_size"),
          .heads = config.get_int("num_attention_heads"),
          .query_rank = find_int(config.fields, "q_lora_rank").value_or(0),
          .rank = config.get_int("kv_lora_rank"),
          .plain = config.get_int("qk_nope_head_dim"),
          .rotated = config.get_int("qk_rope_head_dim"),
          .value = config.get_int("v_head_dim"),
          .scale = score_scale(config)};
}

void shape_cache(const ModelConfig& config, graph::PagedState& cache) {
  const LatentShape shape = latent_shape(config);
  cache.kv_heads = 1, cache.key_dim = shape.key_size(), cache.value_dim = shape.rank, cache.latent = true;
}

AttentionLayer attention(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                         const std::string& block) {
  return LatentAttention(parameters, latent_shape(config), layer, block + ".self_attn.");
}

FeedForward feed_forward(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                         const std::string& block) {
  if (layer < config.get_int("first_k_dense_replace") || layer % config.get_int("moe_layer_freq") != 0)
    return {};
  const std::string mlp = block + ".mlp.", shared = mlp + "shared_experts.";
  const int64_t hidden = config.get_int("hidden_size"), inner = config.get_int("moe_intermediate_size"),
                together = inner * config.get_int("n_shared_experts");
  const bool in_groups = config.get("topk_method") == "group_limited_greedy",
             renormalize = config.get_bool("norm_topk_prob") && config.get_int("num_experts_per_tok") > 1;
  const Experts experts(parameters,
                        {.hidden = hidden,
                         .inner = inner,
                         .experts = config.get_int("n_routed_experts"),
                         .per_token = config.get_int("num_experts_per_tok"),
                         .renormalize = renormalize,
                         .groups = in_groups ? find_int(config.fields, "n_group").value_or(0) : 1,
                         .kept_groups = in_groups ? find_int(config.fields, "topk_group").value_or(0) : 1,
                         .scale = renormalize ? 1 : config.get_double("routed_scaling_factor"),
                         .router = mlp + "gate",
                         .gate_up = mlp + "moe_gate_up_proj",
                         .down = mlp + "moe_down_proj",
                         .source_router = mlp + "gate",
                         .source_experts = mlp + "experts"});
  const GatedMlp mlp_of_all(
      "silu",
      Linear(parameters, shared + "gate_up_proj", hidden, 2 * together,
             {.sources = {shared + "gate_proj", shared + "up_proj"},
              .sharding = {.axis = 0, .segments = {together, together}}}),
      Linear(parameters, shared + "down_proj", together, hidden, {.sharding = {.axis = 1}}));
  return [=](graph::GraphBuilder& g, graph::Value* x) { return g.add(experts(g, x), mlp_of_all(g, x)); };
}

RopeSpec rope(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("qk_rope_head_dim"), "rope_theta");
}

// Elements of a head, or of the latent: a cached key has 2^15 at most.
ConfigField elements(std::string name) { return {std::move(name), ConfigField::Kind::kInteger, 1, 1 << 14}; }

}  // namespace

const ModelDefinition& deepseek_v2() {
  using Kind = ConfigField::Kind;
  using enum KnownKey::Otherwise;
  static const ModelDefinition definition{
      .model_type = "deepseek_v2",
      .architecture = "DeepseekV2ForCausalLM",
      .fields = {field::vocab_size(),
                 field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::size("moe_intermediate_size"),
                 field::layers("num_hidden_layers"),
                 field::heads("num_attention_heads"),
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 field::experts("n_shared_experts"),
                 field::experts("n_routed_experts"),
                 field::experts("num_experts_per_tok"),
                 field::flag("norm_topk_prob", false),
                 {"first_k_dense_replace", Kind::kInteger, 0, 4096},
                 {"moe_layer_freq", Kind::kInteger, 1, 4096, "1"},
                 {"routed_scaling_factor", Kind::kReal, 1e-9, 1e9, "1.0"},
                 {"scoring_func", Kind::kText, 0, 0, "\"softmax\""},
                 {"topk_method", Kind::kText, 0, 0, "\"greedy\""},
                 {"n_group", Kind::kInteger, 1, 1 << 15, "null"},
                 {"topk_group", Kind::kInteger, 1, 1 << 15, "null"},
                 field::flag("attention_bias", false),
                 elements("kv_lora_rank"),
                 elements("qk_rope_head_dim"),
                 elements("v_head_dim"),
                 elements("qk_nope_head_dim"),
                 field::norm_eps("rms_norm_eps"),
                 {"rope_theta", Kind::kReal, 1, 1e15, "10000"},
                 {"q_lora_rank", Kind::kInteger, 1, 1 << 24, "null"},
                 field::rope_scaling(),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 {"dtype", Kind::kText, 0, 0, "\"float32\""},
                 field::count("max_batch_size"),
                 {"weight_block_size", Kind::kAny, 0, 0, "null"}},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"scoring_func"}, {"softmax"}},
               {{"topk_method"}, {"greedy", "group_limited_greedy"}},
               {{"attention_bias", "tie_word_embeddings"}, {false}},
               {{"weight_block_size"}, {}},
               // of training, and sizes that follow from others
               {{"aux_loss_alpha", "seq_aux", "ep_size", "head_dim", "qk_head_dim"}, {}, kAccept}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config,
                                  {.attention_layer = attention, .feed_forward = feed_forward});
      },
      .unused_sources = {"rotary_emb.inv_freq"},
      .shape = {.head_dim = "qk_rope_head_dim"},
      .shape_cache = shape_cache,
      .infer = infer_short_chunk,
      .keeps_scaling = true,
  };
  return definition;
}

}  // namespace mlc::frontend
