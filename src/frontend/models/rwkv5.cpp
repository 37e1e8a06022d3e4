// RWKV-5: blocks of a linear attention whose state per head is a matrix that decays, and channel mixing;
// the state is all that is kept of a text.
//
// Paper: Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence (arXiv:2404.05892).
// Reference: modeling_rwkv5.py beside the checkpoints at huggingface.co/RWKV
#include "base/strings.h"
#include "base/user_error.h"
#include "frontend/layers/recurrent_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

struct RetentionHeads {
  int64_t layer, heads;
  Value *decay, *bonus;  // f32[heads, head_size]
  TokenMix gate_mix, key_mix, value_mix, receptance_mix;
  Linear key, value, receptance, gate, output;
  Value *norm_weight, *norm_bias;
  double eps;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* before = token_shift(g, x, layer, "attention_shift", inputs);
    Value* r = receptance(g, receptance_mix(g, x, before));
    Value* k = key(g, key_mix(g, x, before));
    Value* v = value(g, value_mix(g, x, before));
    Value* y = g.op("wkv5", {r, k, v, decay, bonus, inputs.row_indptr, inputs.slot_ids},
                    {{"layer", layer}, {"part", "wkv"}}, kRecurrentState)[0];
    y = g.op("layer_norm", {y, norm_weight, norm_bias}, {{"eps", eps}, {"groups", heads}})[0];
    Value* open = g.activation(gate(g, gate_mix(g, x, before)), "silu");
    return output(g, g.mul(open, y));
  }
};

TimeMixing make_time_mixing(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                            const ModulePath& path) {
  const int64_t hidden = model_shape(config).hidden, head_size = config.get_int("head_size");
  const int64_t heads = config.get_int("num_heads");
  auto vector = [&](const std::string& name, std::vector<int64_t> shape, const SourceExpr& source) {
    return parameters.declare(
        {.name = path.name + name, .shape = std::move(shape), .force_f32 = true, .source = source});
  };
  auto source = [&](const std::string& name) { return SourceExpr::of(path.source + name); };
  auto mix = [&](const std::string& name) {
    return TokenMix(parameters, path.name + name, path.source + name, hidden);
  };
  auto linear = [&](const std::string& name, double scale = 1) {
    return Linear(parameters, path.name + name, hidden, hidden,
                  {.sources = {path.source + name}, .scale = scale});
  };
  return RetentionHeads{
      layer,
      heads,
      vector("time_decay", {heads, head_size}, SourceExpr::exp_neg_exp(source("time_decay"))),
      vector("time_faaaa", {heads, head_size}, source("time_faaaa")),
      mix("time_mix_gate"),
      mix("time_mix_key"),
      mix("time_mix_value"),
      mix("time_mix_receptance"),
      linear("key"),
      linear("value"),
      linear("receptance"),
      linear("gate"),
      linear("output", residual_scale(config, layer)),
      vector("ln_x.weight", {hidden}, source("ln_x.weight")),
      vector("ln_x.bias", {hidden}, source("ln_x.bias")),
      1e-5,  // of torch's GroupNorm, whatever layer_norm_epsilon is
  };
}

void infer(ModelConfig& config) {
  const int64_t hidden = config.get_int("hidden_size"), head_size = config.get_int("head_size");
  if (config.get_int("num_heads") == 0) config.fields["num_heads"] = hidden / head_size;
  if (config.get_int("intermediate_size") == 0) config.fields["intermediate_size"] = hidden * 7 / 2 / 32 * 32;
}

}  // namespace

const ModelDefinition& rwkv5() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "rwkv5",
      .architecture = "Rwkv5ForCausalLM",
      .fields = {field::size("hidden_size"),
                 {"intermediate_size", Kind::kInteger, 1, 1 << 24, "0"},
                 field::layers("num_hidden_layers"),
                 field::vocab_size(),
                 {"model_version", Kind::kText},
                 field::count("tensor_parallel_shards"),
                 {"rescale_every", Kind::kInteger, 0, 4096, "0"},
                 {"head_size", Kind::kInteger, 1, 1 << 16, "64"},
                 {"layer_norm_epsilon", Kind::kReal, 1e-30, 1, "1e-05"},
                 field::endless_context(),
                 {"prefill_chunk_size", Kind::kInteger, 1, 1 << 30, "4096"},
                 field::heads("num_heads", /*inferred=*/true),
                 field::count("max_batch_size")},
      .keys = {{{"model_version"}, {"5_2"}},
               {{"attention_hidden_size"}, {}, KnownKey::Otherwise::kRefuse, "hidden_size"},
               {{"tie_word_embeddings"}, {false}},
               // of older files, where it is not the number of heads
               {{"num_attention_heads"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = no_rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const int64_t hidden = config.get_int("hidden_size"), head_size = config.get_int("head_size");
        if (const int64_t heads = config.get_int("num_heads"); heads * head_size != hidden)
          throw UserError(str(config.source, ": num_heads ", heads, " of head_size ", head_size,
                              " are not the ", hidden, " of hidden_size; the config is damaged"));
        return make_recurrent_decoder(parameters, config,
                                      {.prefix = "model.",
                                       .time_mixing = make_time_mixing,
                                       .recurrence = {{"wkv", hidden * head_size}}});
      },
      .shape = {.heads = ""},
      .infer = infer,
  };
  return definition;
}

}  // namespace mlc::frontend
