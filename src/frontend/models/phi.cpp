// Phi-1.5 and Phi-2: attention and feed-forward in parallel after one LayerNorm, part of each head rotated,
// GELU (tanh form), biases everywhere.
//
// Papers: Phi-1.5 arXiv:2309.05463. Reference: huggingface.co/docs/transformers/model_doc/phi
#include "base/strings.h"
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
  LayerNorm norm;
  Attention attention;
  PlainMlp mlp;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* normed = norm(g, x);
    return g.add(g.add(x, attention(g, normed, inputs)), mlp(g, normed));
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  const AttentionShape shape = attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const std::string block = str("transformer.h.", layer, "."), source = str("model.layers.", layer, ".");
  const std::string attention = source + "self_attn.";
  return {
      LayerNorm(parameters, block + "ln", hidden, config.get_double("layer_norm_eps"),
                {.source = source + "input_layernorm"}),
      Attention(
          shape, layer,
          Linear(parameters, block + "mixer.Wqkv", hidden, shape.qkv_size(),
                 {.bias = true,
                  .sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                  .sharding = shape.qkv_sharding()}),
          Linear(parameters, block + "mixer.out_proj", shape.q_size(), hidden,
                 {.bias = true, .sources = {attention + "dense"}, .sharding = shape.output_sharding()})),
      PlainMlp("gelu_tanh",
               Linear(parameters, block + "mlp.fc1", hidden, inner,
                      {.bias = true, .sources = {source + "mlp.fc1"}, .sharding = {.axis = 0}}),
               Linear(parameters, block + "mlp.fc2", inner, hidden,
                      {.bias = true, .sources = {source + "mlp.fc2"}, .sharding = {.axis = 1}})),
  };
}

class Phi : public Model {
 public:
  Phi(ParameterList& parameters, const ModelConfig& config)
      : embedding_(parameters, "transformer.embd", config.get_int("vocab_size"),
                   config.get_int("hidden_size"), "model.embed_tokens"),
        norm_(parameters, "lm_head.ln", config.get_int("hidden_size"), config.get_double("layer_norm_eps"),
              {.source = "model.final_layernorm"}),
        head_(parameters, "lm_head.linear", config.get_int("hidden_size"), config.get_int("vocab_size"),
              {.bias = true, .sources = {"lm_head"}}) {
    for (int64_t layer = 0; layer < config.get_int("num_hidden_layers"); ++layer)
      blocks_.push_back(make_block(parameters, config, layer));
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return embedding_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override { return head_(g, hidden); }

 private:
  Embedding embedding_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

// Rounded down.
RopeSpec rope(const ModelConfig& config) {
  const double rotated =
      config.get_double("partial_rotary_factor") * static_cast<double>(config.get_int("head_dim"));
  return make_rope_spec(config, static_cast<int64_t>(rotated));
}

}  // namespace

const ModelDefinition& phi() {
  static const ModelDefinition definition{
      .model_type = "phi",
      .architecture = "PhiForCausalLM",
      .fields = {field::vocab_size(),
                 field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::layers("num_hidden_layers"),
                 field::heads("num_attention_heads"),
                 field::norm_eps("layer_norm_eps"),
                 field::rope_base(),
                 {"partial_rotary_factor", ConfigField::Kind::kReal, 1e-3, 1, "0.5"},
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::head_dim(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size")},
      .keys = {{field::kActivation, {"gelu_new", "gelu_pytorch_tanh"}}, {{"tie_word_embeddings"}, {false}}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Phi>(parameters, config);
      },
      .unused_sources = {"rotary_emb.inv_freq"},
  };
  return definition;
}

}  // namespace mlc::frontend
