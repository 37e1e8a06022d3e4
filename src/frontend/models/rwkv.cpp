// RWKV-4: blocks of a recurrence over the channels, an average of values whose weights decay, and channel
// mixing; the state is all that is kept of a text.
//
// Paper: RWKV: Reinventing RNNs for the Transformer Era (arXiv:2305.13048). Reference:
// huggingface.co/docs/transformers/model_doc/rwkv
#include "frontend/layers/recurrent_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

struct RecurrentAverage {
  int64_t layer;
  Value *decay, *bonus;  // f32[attention_hidden_size]
  TokenMix key_mix, value_mix, receptance_mix;
  Linear key, value, receptance, output;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* before = token_shift(g, x, layer, "attention_shift", inputs);
    Value* k = key(g, key_mix(g, x, before));
    Value* v = value(g, value_mix(g, x, before));
    Value* y = g.op("wkv4", {k, v, decay, bonus, inputs.row_indptr, inputs.slot_ids},
                    {{"layer", layer}, {"part", "wkv"}}, kRecurrentState)[0];
    Value* open = g.activation(receptance(g, receptance_mix(g, x, before)), "sigmoid");
    return output(g, g.mul(open, y));
  }
};

TimeMixing make_time_mixing(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                            const ModulePath& path) {
  const int64_t hidden = model_shape(config).hidden, inner = config.get_int("attention_hidden_size");
  auto vector = [&](const std::string& name) {
    return parameters.declare({.name = path.name + name,
                               .shape = {inner},
                               .force_f32 = true,
                               .source = SourceExpr::of(path.source + name)});
  };
  auto mix = [&](const std::string& name) {
    return TokenMix(parameters, path.name + name, path.source + name, hidden);
  };
  auto linear = [&](const std::string& name, int64_t in, int64_t out, double scale = 1) {
    return Linear(parameters, path.name + name, in, out, {.sources = {path.source + name}, .scale = scale});
  };
  return RecurrentAverage{
      layer,
      vector("time_decay"),
      vector("time_first"),
      mix("time_mix_key"),
      mix("time_mix_value"),
      mix("time_mix_receptance"),
      linear("key", hidden, inner),
      linear("value", hidden, inner),
      linear("receptance", hidden, inner),
      linear("output", inner, hidden, residual_scale(config, layer)),
  };
}

void infer(ModelConfig& config) {
  const int64_t hidden = config.get_int("hidden_size");
  if (config.get_int("attention_hidden_size") == 0) config.fields["attention_hidden_size"] = hidden;
  if (config.get_int("intermediate_size") == 0) config.fields["intermediate_size"] = 4 * hidden;
}

}  // namespace

const ModelDefinition& rwkv() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "rwkv",
      .architecture = "RwkvForCausalLM",
      .fields = {field::size("hidden_size"),
                 {"intermediate_size", Kind::kInteger, 1, 1 << 24, "0"},
                 field::layers("num_hidden_layers"),
                 field::vocab_size(),
                 {"attention_hidden_size", Kind::kInteger, 1, 1 << 24, "0"},
                 field::count("tensor_parallel_shards"),
                 {"rescale_every", Kind::kInteger, -1, 4096, "6"},
                 {"layer_norm_epsilon", Kind::kReal, 1e-30, 1, "1e-05"},
                 field::endless_context(),
                 {"prefill_chunk_size", Kind::kInteger, 1, 1 << 30, "4096"},
                 field::count("max_batch_size")},
      .keys = {{{"tie_word_embeddings"}, {false}},
               // the length of the texts it was trained with
               {{"context_length", "max_position_embeddings"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = no_rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_recurrent_decoder(parameters, config,
                                      {.prefix = "rwkv.",
                                       .time_mixing = make_time_mixing,
                                       .recurrence = {{"wkv", 3 * config.get_int("attention_hidden_size")}}});
      },
      .shape = {.heads = ""},
      .infer = infer,
  };
  return definition;
}

}  // namespace mlc::frontend
