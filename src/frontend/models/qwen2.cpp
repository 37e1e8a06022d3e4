// Qwen2 and Qwen2.5: the llama decoder with biases on the query, key and value projections; tied embeddings
// by config. Paper: Qwen2 Technical Report arXiv:2407.10671. Reference:
// huggingface.co/docs/transformers/model_doc/qwen2
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
                Linear(parameters, attention + "c_attn", hidden, shape.qkv_size(),
                       {.bias = true,
                        .sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
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

class Qwen2 : public Model {
 public:
  Qwen2(ParameterList& parameters, const ModelConfig& config)
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
  return refuse_flag(hf, "use_sliding_window", what);
}

RopeSpec rope(const ModelConfig& config) {
  return {
      .kind = "default", .rotary_dim = config.get_int("head_dim"), .theta = config.get_double("rope_theta")};
}

}  // namespace

const ModelDefinition& qwen2() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "qwen2",
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
      .check_source = check_source,
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Qwen2>(parameters, config);
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
