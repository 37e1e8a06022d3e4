// Medusa: heads on a model's last hidden state, each of which guesses one token further ahead; residual
// blocks of a linear and SiLU, then logits of its own. No text of its own: it proposes for the model it was
// made for.
//
// Paper: arXiv:2401.10774. Reference: github.com/FasterDecoding/Medusa; parameter names are MLC LLM's.
#include "frontend/layers/linear.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

struct Head {
  std::vector<Linear> blocks;
  Linear logits;

  Value* operator()(GraphBuilder& g, Value* x) const {
    for (const Linear& linear : blocks) x = g.add(x, g.activation(linear(g, x), "silu"));
    return logits(g, x);
  }
};

Head make_head(ParameterList& parameters, const ModelConfig& config, int64_t index) {
  const int64_t hidden = config.get_int("hidden_size"), layers = config.get_int("medusa_num_layers");
  const std::string head = "medusa_head." + std::to_string(index) + ".";
  std::vector<Linear> blocks;
  for (int64_t layer = 0; layer < layers; ++layer)
    blocks.emplace_back(parameters, head + std::to_string(layer) + ".linear", hidden, hidden,
                        LinearOptions{.bias = true});
  return {std::move(blocks),
          Linear(parameters, head + std::to_string(layers), hidden, config.get_int("vocab_size"))};
}

class Medusa : public Model {
 public:
  Medusa(ParameterList& parameters, const ModelConfig& config) {
    for (int64_t head = 0; head < config.get_int("medusa_num_heads"); ++head)
      heads_.push_back(make_head(parameters, config, head));
  }

  Value* embed(GraphBuilder&, Value*) const override { return nullptr; }
  Value* transformer(GraphBuilder&, Value*, const StepInputs&) const override { return nullptr; }
  Value* logits(GraphBuilder&, Value*) const override { return nullptr; }

  std::vector<Value*> head_logits(GraphBuilder& g, Value* hidden) const override {
    std::vector<Value*> logits;
    for (const Head& head : heads_) logits.push_back(head(g, hidden));
    return logits;
  }

 private:
  std::vector<Head> heads_;
};

}  // namespace

const ModelDefinition& medusa() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "medusa",
      .architecture = "MedusaModel",
      .fields = {{"medusa_num_heads", Kind::kInteger, 1, 64},
                 {"medusa_num_layers", Kind::kInteger, 1, 64},
                 field::size("hidden_size"),
                 field::vocab_size(),
                 field::count("max_batch_size"),
                 field::count("tensor_parallel_shards"),
                 {"prefill_chunk_size", Kind::kInteger, -1, 2147483647, "-1"},  // of no use, as MLC has them
                 field::endless_context()},
      .keys = {{{"base_model_name_or_path", "medusa_choices"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = [](const ModelConfig&) { return RopeSpec{}; },
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return std::make_unique<Medusa>(parameters, config);
      },
      .unused_sources = {},
      .shape = {.layers = "medusa_num_layers", .heads = ""},
      .draft_head = true,
  };
  return definition;
}

}  // namespace mlc::frontend
