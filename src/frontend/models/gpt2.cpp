// GPT-2: learned positions, LayerNorm, a plain GELU feed-forward, biases everywhere; the head is a copy of
// the token embedding.
//
// Paper: Language Models are Unsupervised Multitask Learners (Radford and others 2019). Reference:
// huggingface.co/docs/transformers/model_doc/gpt2
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
  LayerNorm attention_norm, mlp_norm;
  Attention attention;
  PlainMlp mlp;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    x = g.add(x, attention(g, attention_norm(g, x), inputs));
    return g.add(x, mlp(g, mlp_norm(g, x)));
  }
};

// Parameters are called as in MLC, "transformer.h.0..."; the checkpoint has no "transformer.".
Block make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  AttentionShape shape = attention_shape(config);
  if (config.get_bool("scale_attn_by_inverse_layer_idx")) shape.scale /= static_cast<double>(layer + 1);
  const int64_t hidden = shape.hidden, inner = config.get_int("n_inner");
  const double eps = config.get_double("layer_norm_epsilon");
  const std::string source = "h." + std::to_string(layer), block = "transformer." + source;
  auto linear = [&](const std::string& name, int64_t in, int64_t out, const Sharding& sharding) {
    return Linear(parameters, block + name, in, out,
                  {.bias = true, .sources = {source + name}, .transposed = true, .sharding = sharding});
  };
  return {
      LayerNorm(parameters, block + ".ln_1", hidden, eps, {.source = source + ".ln_1"}),
      LayerNorm(parameters, block + ".ln_2", hidden, eps, {.source = source + ".ln_2"}),
      Attention(shape, layer, linear(".attn.c_attn", hidden, shape.qkv_size(), shape.qkv_sharding()),
                linear(".attn.c_proj", shape.q_size(), hidden, shape.output_sharding())),
      PlainMlp("gelu_tanh", linear(".mlp.c_fc", hidden, inner, {.axis = 0}),
               linear(".mlp.c_proj", inner, hidden, {.axis = 1})),
  };
}

class Gpt2 : public Model {
 public:
  Gpt2(ParameterList& parameters, const ModelConfig& config)
      : head_(parameters, "lm_head", config.get_int("n_embd"), config.get_int("vocab_size"),
              {.sources = {"wte"}}),
        tokens_(parameters, "transformer.wte", config.get_int("vocab_size"), config.get_int("n_embd"), "wte"),
        positions_(parameters, "transformer.wpe", config.get_int("context_window_size"),
                   config.get_int("n_embd"), "wpe"),
        norm_(parameters, "transformer.ln_f", config.get_int("n_embd"),
              config.get_double("layer_norm_epsilon"), {.source = "ln_f"}) {
    for (int64_t layer = 0; layer < config.get_int("n_layer"); ++layer)
      blocks_.push_back(make_block(parameters, config, layer));
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return tokens_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    x = g.add(x, positions_(g, inputs.positions));
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override { return head_(g, hidden); }

 private:
  Linear head_;
  Embedding tokens_, positions_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

}  // namespace

const ModelDefinition& gpt2() {
  static const ModelDefinition definition{
      .model_type = "gpt2",
      .architecture = "GPT2LMHeadModel",
      .fields = {field::vocab_size(),
                 field::size("n_embd"),
                 field::layers("n_layer"),
                 field::heads("n_head"),
                 field::norm_eps("layer_norm_epsilon"),
                 {"n_inner", ConfigField::Kind::kInteger, 1, 1 << 24, "0"},
                 field::context_window_size(
                     {"n_positions", "max_position_embeddings", "max_sequence_length"}),
                 field::prefill_chunk_size(),
                 field::flag("scale_attn_by_inverse_layer_idx", false),
                 field::count("tensor_parallel_shards"),
                 field::head_dim(),
                 field::count("max_batch_size")},
      .keys = {{field::kActivation, {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"}},
               {{"scale_attn_by_inverse_layer_idx"}, {}, KnownKey::Otherwise::kAccept},
               {{"tie_word_embeddings"}, {true}},
               {{"n_ctx"}, {}, KnownKey::Otherwise::kAccept},
               {{"reorder_and_upcast_attn", "summary_activation", "summary_first_dropout",
                 "summary_proj_to_labels", "summary_type", "summary_use_proj"},
                {},
                KnownKey::Otherwise::kAccept}},
      .rope = [](const ModelConfig&) { return RopeSpec{}; },
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Gpt2>(parameters, config);
      },
      .unused_sources = {".attn.bias", ".attn.masked_bias", "lm_head.weight"},
      .shape = {.hidden = "n_embd", .layers = "n_layer", .heads = "n_head"},
      .infer =
          [](ModelConfig& config) {
            if (config.get_int("n_inner") == 0) config.fields["n_inner"] = 4 * config.get_int("n_embd");
          },
      .learned_positions = true,
  };
  return definition;
}

}  // namespace mlc::frontend
