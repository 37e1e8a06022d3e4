// GPT-NeoX (Pythia, RedPajama-INCITE, Dolly): LayerNorm, rotary embedding of part of each head, plain GELU
// feed-forward, biases everywhere; attention and feed-forward in parallel or in sequence by config.
//
// Papers: GPT-NeoX-20B arXiv:2204.06745, Pythia arXiv:2304.01373.
//
// Reference: huggingface.co/docs/transformers/model_doc/gpt_neox
#include "frontend/layers/plain_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

PlainBlock make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
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

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const int64_t vocab = config.get_int("vocab_size"), hidden = config.get_int("hidden_size");
  Embedding embedding(parameters, "gpt_neox.embed_in", vocab, hidden);
  std::vector<PlainBlock> blocks = make_blocks(config.get_int("num_hidden_layers"), [&](int64_t layer) {
    return make_block(parameters, config, layer);
  });
  LayerNorm norm(parameters, "gpt_neox.final_layer_norm", hidden, config.get_double("layer_norm_eps"));
  Linear head(parameters, "embed_out", hidden, vocab);
  return std::make_unique<PlainDecoder>(embedding, std::nullopt, std::move(blocks), norm, head);
}

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
      .create = create,
      .unused_sources = {"rotary_emb.inv_freq", "attention.masked_bias", "attention.bias"},
  };
  return definition;
}

}  // namespace mlc::frontend
