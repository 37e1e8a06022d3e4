// Phi-1.5 and Phi-2: attention and feed-forward in parallel after one LayerNorm, part of each head rotated,
// GELU (tanh form), biases everywhere.
//
// Papers: Phi-1.5 arXiv:2309.05463. Reference: huggingface.co/docs/transformers/model_doc/phi
#include "base/strings.h"
#include "frontend/layers/plain_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

PlainBlock make_block(ParameterList& parameters, const ModelConfig& config, int64_t layer) {
  const AttentionShape shape = attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const std::string block = str("transformer.h.", layer, "."), source = str("model.layers.", layer, ".");
  const std::string attention = source + "self_attn.";
  return {
      LayerNorm(parameters, block + "ln", hidden, config.get_double("layer_norm_eps"),
                {.source = source + "input_layernorm"}),
      std::nullopt,
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
      /*parallel=*/true,
  };
}

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const int64_t vocab = config.get_int("vocab_size"), hidden = config.get_int("hidden_size");
  Embedding embedding(parameters, "transformer.embd", vocab, hidden, "model.embed_tokens");
  LayerNorm norm(parameters, "lm_head.ln", hidden, config.get_double("layer_norm_eps"),
                 {.source = "model.final_layernorm"});
  Linear head(parameters, "lm_head.linear", hidden, vocab, {.bias = true, .sources = {"lm_head"}});
  std::vector<PlainBlock> blocks = make_blocks(config.get_int("num_hidden_layers"), [&](int64_t layer) {
    return make_block(parameters, config, layer);
  });
  return std::make_unique<PlainDecoder>(embedding, std::nullopt, std::move(blocks), norm, head);
}

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
      .create = create,
      .unused_sources = {"rotary_emb.inv_freq"},
  };
  return definition;
}

}  // namespace mlc::frontend
