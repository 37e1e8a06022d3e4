// BERT: an encoder. Every token sees its whole text; learned positions and token types, LayerNorm after each
// residual, exact GELU; the result is the last hidden states.
//
// Paper: arXiv:1810.04805. Reference: huggingface.co/docs/transformers/model_doc/bert
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
  LayerNorm attention_norm;
  PlainMlp mlp;
  LayerNorm mlp_norm;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    x = attention_norm(g, g.add(x, attention(g, x, inputs)));
    return mlp_norm(g, g.add(x, mlp(g, x)));
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  const AttentionShape shape = attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("layer_norm_eps");
  const std::string block = "encoder.layer." + std::to_string(layer) + ".", self = block + "attention.self.";
  return {
      Attention(shape, layer,
                Linear(parameters, self + "qkv", hidden, shape.qkv_size(),
                       {.bias = true,
                        .sources = {self + "query", self + "key", self + "value"},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, block + "attention.output.dense", shape.q_size(), hidden,
                       {.bias = true, .sharding = shape.output_sharding()})),
      LayerNorm(parameters, block + "attention.output.LayerNorm", hidden, eps),
      PlainMlp(
          "gelu",
          Linear(parameters, block + "intermediate.dense", hidden, inner,
                 {.bias = true, .sharding = {.axis = 0}}),
          Linear(parameters, block + "output.dense", inner, hidden, {.bias = true, .sharding = {.axis = 1}})),
      LayerNorm(parameters, block + "output.LayerNorm", hidden, eps),
  };
}

class Bert : public Model {
 public:
  Bert(ParameterList& parameters, const ModelConfig& config)
      : words_(table(parameters, config, "word", "vocab_size")),
        positions_(table(parameters, config, "position", "context_window_size")),
        types_(table(parameters, config, "token_type", "type_vocab_size")),
        norm_(parameters, "embeddings.LayerNorm", config.get_int("hidden_size"),
              config.get_double("layer_norm_eps")) {
    for (int64_t layer = 0; layer < config.get_int("num_hidden_layers"); ++layer)
      blocks_.push_back(make_block(parameters, config, layer));
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return words_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    x = g.add(x, types_(g, inputs.token_types));
    x = norm_(g, g.add(x, positions_(g, inputs.positions)));
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return x;
  }

  Value* logits(GraphBuilder&, Value*) const override { return nullptr; }

 private:
  static Embedding table(ParameterList& parameters, const ModelConfig& config, const std::string& name,
                         const char* rows) {
    return Embedding(parameters, "embeddings." + name + "_embeddings", config.get_int(rows),
                     config.get_int("hidden_size"));
  }

  Embedding words_, positions_, types_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

// A text is read in one step, so a step holds the longest.
void infer(ModelConfig& config) {
  if (config.get_int("prefill_chunk_size") == 0)
    config.fields["prefill_chunk_size"] = config.get_int("context_window_size");
}

}  // namespace

const ModelDefinition& bert() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "bert",
      .architecture = "BertModel",
      .fields = {field::vocab_size(),
                 field::size("hidden_size"),
                 field::layers("num_hidden_layers"),
                 field::heads("num_attention_heads"),
                 field::size("intermediate_size"),
                 {"hidden_act", Kind::kText, 0, 0, "\"gelu\""},
                 field::norm_eps("layer_norm_eps"),
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 {"type_vocab_size", Kind::kInteger, 1, 1 << 24, "2"},
                 {"pad_token_id", Kind::kInteger, 0, 1 << 28, "0"},
                 {"position_offset", Kind::kInteger, 0, 0, "0"},  // other positions are not built
                 field::head_dim(),
                 field::count("max_batch_size")},
      .keys = {{field::kActivation, {"gelu", "gelu_python"}},
               {{"position_embedding_type"}, {"absolute"}},
               {{"is_decoder"}, {false}},
               {{"tie_word_embeddings"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = [](const ModelConfig&) { return RopeSpec{}; },
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Bert>(parameters, config);
      },
      .unused_sources = {"embeddings.position_ids"},
      .infer = infer,
      .learned_positions = true,
      .encoder = true,
  };
  return definition;
}

}  // namespace mlc::frontend
