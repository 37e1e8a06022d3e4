// GPT-2: learned positions, LayerNorm, a plain GELU feed-forward, biases everywhere; the head is a copy of
// the token embedding.
//
// Paper: Language Models are Unsupervised Multitask Learners (Radford and others 2019). Reference:
// huggingface.co/docs/transformers/model_doc/gpt2
#include "frontend/layers/plain_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

// Parameters are called as in MLC, "transformer.h.0..."; the checkpoint has no "transformer.".
PlainBlock make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
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

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const int64_t vocab = config.get_int("vocab_size"), hidden = config.get_int("n_embd");
  Linear head(parameters, "lm_head", hidden, vocab, {.sources = {"wte"}});
  Embedding tokens(parameters, "transformer.wte", vocab, hidden, "wte");
  Embedding positions(parameters, "transformer.wpe", config.get_int("context_window_size"), hidden, "wpe");
  LayerNorm norm(parameters, "transformer.ln_f", hidden, config.get_double("layer_norm_epsilon"),
                 {.source = "ln_f"});
  std::vector<PlainBlock> blocks = make_blocks(
      config.get_int("n_layer"), [&](int64_t layer) { return make_block(parameters, config, layer); });
  return std::make_unique<PlainDecoder>(tokens, positions, std::move(blocks), norm, head);
}

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
      .create = create,
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
