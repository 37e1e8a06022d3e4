// GPT-NeoX (Pythia, RedPajama-INCITE, Dolly): LayerNorm, rotary embedding of part of each head, plain GELU
// feed-forward, biases everywhere; attention and feed-forward in parallel or in sequence by config.
//
// Papers: GPT-NeoX-20B arXiv:2204.06745, Pythia arXiv:2304.01373.
//
// Reference: huggingface.co/docs/transformers/model_doc/gpt_neox
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
  LayerNorm input_norm, post_attention_norm;
  Attention attention;
  PlainMlp mlp;
  bool parallel;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* attended = attention(g, input_norm(g, x), inputs);
    if (parallel) return g.add(g.add(x, attended), mlp(g, post_attention_norm(g, x)));
    x = g.add(x, attended);
    return g.add(x, mlp(g, post_attention_norm(g, x)));
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  const AttentionShape shape = attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("layer_norm_eps");
  const std::string block = "gpt_neox.layers." + std::to_string(layer);
  return {
      LayerNorm(parameters, block + ".input_layernorm", hidden, eps),
      LayerNorm(parameters, block + ".post_attention_layernorm", hidden, eps),
      Attention(shape, layer,
                Linear(parameters, block + ".attention.query_key_value", hidden, shape.qkv_size(),
                       {.bias = true,
                        .output_dims = {shape.heads, 3, shape.head_dim},
                        .output_order = {1, 0, 2},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, block + ".attention.dense", shape.q_size(), hidden,
                       {.bias = true, .sharding = shape.output_sharding()})),
      PlainMlp("gelu",
               Linear(parameters, block + ".mlp.dense_h_to_4h", hidden, inner,
                      {.bias = true, .bias_f32 = true, .sharding = {.axis = 0}}),
               Linear(parameters, block + ".mlp.dense_4h_to_h", inner, hidden,
                      {.bias = true, .bias_f32 = true, .sharding = {.axis = 1}})),
      config.get_bool("use_parallel_residual"),
  };
}

class GptNeox : public Model {
 public:
  GptNeox(ParameterList& parameters, const ModelConfig& config)
      : embedding_(parameters, "gpt_neox.embed_in", config.get_int("vocab_size"),
                   config.get_int("hidden_size")),
        blocks_(make_blocks(parameters, config)),
        norm_(parameters, "gpt_neox.final_layer_norm", config.get_int("hidden_size"),
              config.get_double("layer_norm_eps")),
        head_(parameters, "embed_out", config.get_int("hidden_size"), config.get_int("vocab_size")) {}

  Value* embed(GraphBuilder& g, Value* ids) const override { return embedding_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override { return head_(g, hidden); }

 private:
  static std::vector<Block> make_blocks(ParameterList& parameters, const ModelConfig& config) {
    std::vector<Block> blocks;
    for (int64_t layer = 0; layer < config.get_int("num_hidden_layers"); ++layer)
      blocks.push_back(make_block(parameters, config, layer));
    return blocks;
  }

  Embedding embedding_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

// Rounded down: 0.25 of a head of 80 rotates 20 elements.
RopeSpec rope(const ModelConfig& config) {
  const double rotated = config.get_double("rotary_pct") * static_cast<double>(config.get_int("head_dim"));
  return make_rope_spec(config, static_cast<int64_t>(rotated));
}

}  // namespace

const ModelDefinition& gpt_neox() {
  static const ModelDefinition definition{
      .model_type = "gpt_neox",
      .architecture = "GPTNeoXForCausalLM",
      .fields = {field::flag("use_parallel_residual", true),
                 field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::heads("num_attention_heads"),
                 field::layers("num_hidden_layers"),
                 field::norm_eps("layer_norm_eps"),
                 field::vocab_size(),
                 {"rotary_pct", ConfigField::Kind::kReal, 1e-3, 1, "", {"partial_rotary_factor"}},
                 field::rope_base({"rotary_emb_base", "rope_theta"}),
                 field::context_window_size(),
                 field::head_dim(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 {"ffn_out_dtype", ConfigField::Kind::kText, 0, 0, "\"float32\""},
                 field::count("max_batch_size")},
      .keys = {{field::kActivation, {"gelu", "gelu_python"}},
               {{"attention_bias", "mlp_bias", "qkv_bias", "use_bias", "bias"}, {true}},
               {{"tie_word_embeddings"}, {false}},
               {{"num_key_value_heads"}, {}, KnownKey::Otherwise::kRefuse, "num_attention_heads"}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<GptNeox>(parameters, config);
      },
      .unused_sources = {"rotary_emb.inv_freq", "attention.masked_bias", "attention.bias"},
  };
  return definition;
}

}  // namespace mlc::frontend
