// StarCoder2: LayerNorm, biases, plain feed-forward with GELU (tanh form), grouped-query attention in a
// window; the embeddings are the output layer too, stored once more for it.
//
// Paper: arXiv:2402.19173. Reference: huggingface.co/docs/transformers/model_doc/starcoder2
#include "base/strings.h"
#include "frontend/config_rules.h"
#include "frontend/layers/plain_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

PlainBlock make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  AttentionShape shape = attention_shape(config);
  shape.window = layer_window(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("norm_epsilon");
  const bool bias = config.get_bool("use_bias");
  const std::string block = str("model.layers.", layer, "."), attention = block + "self_attn.";
  return {
      LayerNorm(parameters, block + "input_layernorm", hidden, eps),
      LayerNorm(parameters, block + "post_attention_layernorm", hidden, eps),
      Attention(shape, layer,
                Linear(parameters, attention + "wqkv_pack", hidden, shape.qkv_size(),
                       {.bias = bias,
                        .sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, attention + "o_proj", shape.q_size(), hidden,
                       {.bias = bias, .sharding = shape.output_sharding()})),
      PlainMlp(
          "gelu_tanh",
          Linear(parameters, block + "mlp.c_fc", hidden, inner, {.bias = bias, .sharding = {.axis = 0}}),
          Linear(parameters, block + "mlp.c_proj", inner, hidden, {.bias = bias, .sharding = {.axis = 1}})),
  };
}

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const int64_t vocab = config.get_int("vocab_size"), hidden = config.get_int("hidden_size");
  // First: records of one source tensor stand in the order in which they are declared.
  Linear head(parameters, "lm_head", hidden, vocab, {.sources = {"model.embed_tokens"}});
  Embedding embedding(parameters, "model.embed_tokens", vocab, hidden);
  LayerNorm norm(parameters, "model.norm", hidden, config.get_double("norm_epsilon"));
  std::vector<PlainBlock> blocks = make_blocks(config.get_int("num_hidden_layers"), [&](int64_t layer) {
    return make_block(parameters, config, layer);
  });
  return std::make_unique<PlainDecoder>(embedding, std::nullopt, std::move(blocks), norm, head);
}

RopeSpec rope(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("head_dim"), "rope_theta");
}

// MLC's models see all tokens.
ConfigField window() {
  ConfigField field = field::layer_window();
  field.always_stated = true;
  return field;
}

}  // namespace

const ModelDefinition& starcoder2() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "starcoder2",
      .architecture = "Starcoder2ForCausalLM",
      .fields = {field::vocab_size(),
                 field::size("hidden_size"),
                 field::layers("num_hidden_layers"),
                 field::heads("num_attention_heads"),
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 {"hidden_act", Kind::kText, 0, 0, "\"gelu_pytorch_tanh\""},
                 field::norm_eps("norm_epsilon"),
                 field::size("intermediate_size"),
                 {"rope_theta", Kind::kReal, 1, 1e15, "10000"},
                 field::flag("use_bias", true),
                 field::flag("use_cache", true),
                 {"bos_token_id", Kind::kAny, 0, 0, "50256"},
                 {"eos_token_id", Kind::kAny, 0, 0, "50256"},
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size"),
                 field::head_dim()},
      .source_fields = {window()},
      .keys = {{field::kActivation, {"gelu_pytorch_tanh", "gelu_new"}},
               {{"use_bias"}, {true, false}},
               {{"mlp_type"}, {"default"}},
               {{"tie_word_embeddings"}, {true}}},
      .rope = rope,
      .create = create,
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
