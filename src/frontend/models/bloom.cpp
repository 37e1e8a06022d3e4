// BLOOM: no positions but biases of attention's scores by distance (ALiBi), LayerNorm, also of the
// embeddings, plain feed-forward with GELU (tanh form), biases everywhere; the embeddings are the output
// layer too.
//
// Papers: BLOOM arXiv:2211.05100, ALiBi arXiv:2108.12409. Reference:
// huggingface.co/docs/transformers/model_doc/bloom
#include "base/strings.h"
#include "frontend/layers/plain_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

constexpr double kAlibi = 8;              // of 2^k heads the last one's slope is 2^-8
constexpr int64_t kTrainedTokens = 2048;  // what a config without a length was trained on

// The checkpoint has no "transformer.".
PlainBlock make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  AttentionShape shape = attention_shape(config);
  shape.alibi = kAlibi;
  const int64_t hidden = shape.hidden, inner = 4 * hidden;
  const double eps = config.get_double("layer_norm_epsilon");
  const std::string source = str("h.", layer, "."), block = "transformer." + source;
  auto linear = [&](const std::string& name, int64_t in, int64_t out, const Sharding& sharding) {
    return Linear(parameters, block + name, in, out,
                  {.bias = true, .sources = {source + name}, .sharding = sharding});
  };
  auto norm = [&](const std::string& name) {
    return LayerNorm(parameters, block + name, hidden, eps, {.source = source + name});
  };
  return {
      norm("input_layernorm"),
      norm("post_attention_layernorm"),
      Attention(shape, layer,
                Linear(parameters, block + "self_attention.query_key_value", hidden, shape.qkv_size(),
                       {.bias = true,
                        .sources = {source + "self_attention.query_key_value"},
                        .output_dims = {shape.heads, 3, shape.head_dim},
                        .output_order = {1, 0, 2},
                        .sharding = shape.qkv_sharding()}),
                linear("self_attention.dense", shape.q_size(), hidden, shape.output_sharding())),
      PlainMlp("gelu_tanh", linear("mlp.dense_h_to_4h", hidden, inner, {.axis = 0}),
               linear("mlp.dense_4h_to_h", inner, hidden, {.axis = 1})),
  };
}

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const int64_t hidden = config.get_int("hidden_size");
  const double eps = config.get_double("layer_norm_epsilon");
  Embedding tokens(parameters, "transformer.word_embeddings", config.get_int("vocab_size"), hidden,
                   "word_embeddings");
  LayerNorm embedding_norm(parameters, "transformer.word_embeddings_layernorm", hidden, eps,
                           {.source = "word_embeddings_layernorm"});
  std::vector<PlainBlock> blocks = make_blocks(
      config.get_int("n_layer"), [&](int64_t layer) { return make_block(parameters, config, layer); });
  LayerNorm norm(parameters, "transformer.ln_f", hidden, eps, {.source = "ln_f"});
  auto model = std::make_unique<PlainDecoder>(tokens, std::nullopt, std::move(blocks), norm, std::nullopt);
  model->embedding_norm = embedding_norm;
  model->biased_by_distance = true;
  return model;
}

}  // namespace

const ModelDefinition& bloom() {
  static const ModelDefinition definition{
      .model_type = "bloom",
      .architecture = "BloomForCausalLM",
      .fields = {field::vocab_size(),
                 {"hidden_size", ConfigField::Kind::kInteger, 1, 1 << 24, "", {"n_embed"}},
                 {"n_layer", ConfigField::Kind::kInteger, 1, 4096, "", {"num_hidden_layers"}},
                 {"n_head", ConfigField::Kind::kInteger, 1, 1 << 16, "", {"num_attention_heads"}},
                 field::norm_eps("layer_norm_epsilon"),
                 field::context_window_size({"seq_length", "max_position_embeddings"}),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 field::head_dim(),
                 field::count("max_batch_size")},
      .keys = {{{"apply_residual_connection_post_layernorm"}, {false}},
               {{"tie_word_embeddings"}, {true}},
               {{"attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion", "n_inner",
                 "offset_alibi", "skip_bias_add", "skip_bias_add_qkv", "slow_but_exact"},
                {},
                KnownKey::Otherwise::kAccept}},
      .rope = [](const ModelConfig&) { return RopeSpec{}; },
      .create = create,
      .unused_sources = {"lm_head.weight"},
      .shape = {.layers = "n_layer", .heads = "n_head"},
      .infer =
          [](ModelConfig& config) {
            if (config.get_int("context_window_size") == 0)
              config.fields["context_window_size"] = kTrainedTokens;
          },
  };
  return definition;
}

}  // namespace mlc::frontend
