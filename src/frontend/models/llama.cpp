// Llama 1-3 and what shares its shape (TinyLlama, Vicuna, SmolLM2): RMSNorm, rotary embedding, grouped-query
// attention, SwiGLU; tied embeddings and llama3 rope scaling by config.
//
// Papers: LLaMA arXiv:2302.13971, Llama 2 arXiv:2307.09288, Llama 3 arXiv:2407.21783, GQA arXiv:2305.13245.
//
// Reference: huggingface.co/docs/transformers/model_doc/llama
#include <optional>

#include "frontend/layers/attention.h"
#include "frontend/layers/embedding.h"
#include "frontend/layers/mlp.h"
#include "frontend/layers/norm.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

struct Block {
  Attention attention;
  GatedMlp mlp;
  RmsNorm input_norm, post_attention_norm;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    x = g.add(x, attention(g, input_norm(g, x), inputs));
    return g.add(x, mlp(g, post_attention_norm(g, x)));
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  const AttentionShape shape = attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("rms_norm_eps");
  const std::string block = "model.layers." + std::to_string(layer);
  const std::string attention = block + ".self_attn.", mlp = block + ".mlp.";
  return {
      Attention(shape, layer,
                Linear(parameters, attention + "qkv_proj", hidden, shape.qkv_size(),
                       {.sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, attention + "o_proj", shape.q_size(), hidden,
                       {.sharding = shape.output_sharding()})),
      GatedMlp("silu",
               Linear(parameters, mlp + "gate_up_proj", hidden, 2 * inner,
                      {.sources = {mlp + "gate_proj", mlp + "up_proj"},
                       .sharding = {.axis = 0, .segments = {inner, inner}}}),
               Linear(parameters, mlp + "down_proj", inner, hidden, {.sharding = {.axis = 1}})),
      RmsNorm(parameters, block + ".input_layernorm", hidden, eps),
      RmsNorm(parameters, block + ".post_attention_layernorm", hidden, eps),
  };
}

class Llama : public Model {
 public:
  Llama(ParameterList& parameters, const ModelConfig& config)
      : embedding_(parameters, "model.embed_tokens", config.get_int("vocab_size"),
                   config.get_int("hidden_size")),
        blocks_(make_blocks(parameters, config)),
        norm_(parameters, "model.norm", config.get_int("hidden_size"), config.get_double("rms_norm_eps")) {
    if (!config.get_bool("tie_word_embeddings"))
      head_.emplace(parameters, "lm_head", config.get_int("hidden_size"), config.get_int("vocab_size"));
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return embedding_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override {
    return head_ ? (*head_)(g, hidden) : embedding_.as_linear(g, hidden);
  }

 private:
  static std::vector<Block> make_blocks(ParameterList& parameters, const ModelConfig& config) {
    std::vector<Block> blocks;
    for (int64_t layer = 0; layer < config.get_int("num_hidden_layers"); ++layer)
      blocks.push_back(make_block(parameters, config, layer));
    return blocks;
  }

  Embedding embedding_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  std::optional<Linear> head_;  // absent when tied
};

Status check_source(const Json& hf, const std::string& what) {
  RETURN_IF_ERROR(require_text(hf, "hidden_act", {"silu"}, what));
  RETURN_IF_ERROR(refuse_flag(hf, "attention_bias", what));
  return refuse_flag(hf, "mlp_bias", what);
}

RopeSpec rope(const ModelConfig& config) { return make_rope_spec(config, config.get_int("head_dim")); }

}  // namespace

const ModelDefinition& llama() {
  static const ModelDefinition definition{
      .model_type = "llama",
      .fields = {field::size("hidden_size"), field::size("intermediate_size"),
                 field::heads("num_attention_heads"), field::layers("num_hidden_layers"),
                 field::norm_eps("rms_norm_eps"), field::vocab_size(),
                 field::flag("tie_word_embeddings", false), field::rope_base(), field::rope_scaling(),
                 field::context_window_size(), field::prefill_chunk_size(),
                 field::heads("num_key_value_heads", /*inferred=*/true), field::head_dim(),
                 field::count("tensor_parallel_shards"), field::count("pipeline_parallel_stages"),
                 field::count("max_batch_size"), field::flag("disaggregation", false)},
      .check_source = check_source,
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Llama>(parameters, config);
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
