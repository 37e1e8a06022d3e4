// Gemma 3, of its text model: gemma2's block without caps, a norm of each query and key, and a window in all
// layers but each sixth; layers with a window rotate by a base of their own, unscaled. The model that reads
// images too (gemma3) has the same text model in a config and under names of its own.
//
// Paper: Gemma 3 Technical Report arXiv:2503.19786. Reference:
// huggingface.co/docs/transformers/model_doc/gemma3
#include <algorithm>
#include <cmath>

#include "frontend/config_nested.h"
#include "frontend/config_rope.h"
#include "frontend/config_rules.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using Kind = ConfigField::Kind;

constexpr double kMaxCount = 2147483647;  // positions are int32
constexpr int64_t kShortestContext = 8192;

RopeSpec local_rope(const ModelConfig& config) {
  return {.kind = "default",
          .rotary_dim = config.get_int("head_dim"),
          .theta = config.get_double(kLocalBase),
          .scaling = {}};
}

// As MLC's class: a context of its own, or the window where that is longer.
void infer(ModelConfig& config) {
  Json& text = config.fields[kTextConfig];
  const int64_t context = std::max(kShortestContext, text["sliding_window_size"].get<int64_t>());
  text["context_window_size"] = context;
  text["prefill_chunk_size"] = kDefaultPrefillChunk;
  if (config.fields["context_window_size"] == 0) config.fields["context_window_size"] = context;
}

// As listed, or by the pattern: P - 1 layers with a window, then one without.
bool has_window(const ModelConfig& config, int64_t layer) {
  const Json& listed = config.get("layer_types");
  if (!listed.empty()) return listed[static_cast<size_t>(layer)] == "sliding_attention";
  return (layer + 1) % config.get_int("sliding_window_pattern") != 0;
}

std::unique_ptr<Model> create(ParameterList& parameters, const ModelConfig& config) {
  const double scale = 1 / std::sqrt(config.get_double("query_pre_attn_scalar"));
  return make_gated_decoder(parameters, config,
                            {.embedding = "language_model.model.embed_tokens",
                             .layers = "language_model.model.layers",
                             .norm = "language_model.model.norm",
                             .source = config.get_bool("is_text_model") ? "model" : "language_model.model",
                             .split_qkv = true,
                             .head_norms = true,
                             .activation = "gelu_tanh",
                             .norms_plus_one = true,
                             .tied = true,
                             .embedding_scale = std::sqrt(config.get_double("hidden_size")),
                             .attention_scale = scale,
                             .sandwich_norms = true,
                             .adjust = [&](AttentionShape& shape, int64_t layer) {
                               if (!has_window(config, layer)) return;
                               shape.window = layer_window(config);
                               shape.rope = 1;
                             }});
}

ModelDefinition define(std::string model_type, std::string architecture) {
  const ConfigField window = {"sliding_window_size", Kind::kInteger, 1, 1 << 30, "4096", {"sliding_window"}};
  return {
      .model_type = std::move(model_type),
      .architecture = std::move(architecture),
      .fields = {{"vocab_size", Kind::kInteger, 1, 1 << 28, "262208"},
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size"),
                 field::context_window_size({}),
                 window,
                 field::prefill_chunk_size(),
                 field::flag("is_text_model", false)},
      .text_fields = {field::size("hidden_size"),
                      field::size("intermediate_size"),
                      field::layers("num_hidden_layers"),
                      field::flag("attention_bias", false),
                      {"num_attention_heads", Kind::kInteger, 1, 1 << 16, "8"},
                      {"num_key_value_heads", Kind::kInteger, 1, 1 << 16, "4"},
                      {"head_dim", Kind::kInteger, 1, 1 << 16, "256"},
                      {"rms_norm_eps", Kind::kReal, 1e-30, 1, "1e-06"},
                      {"hidden_activation", Kind::kText, 0, 0, "\"gelu_pytorch_tanh\"", {"hidden_act"}},
                      {"position_embedding_base", Kind::kReal, 1, 1e15, "1000000", {"rope_theta"}},
                      {"rope_scaling", Kind::kAny, 0, 0, "0"},
                      {"context_window_size", Kind::kInteger, 1, kMaxCount, "131072"},
                      {"prefill_chunk_size", Kind::kInteger, 1, kMaxCount, "0"},
                      {"query_pre_attn_scalar", Kind::kReal, 1e-3, 1e9, "256"},
                      window},
      .source_fields = {{"sliding_window", Kind::kInteger, 1, 1 << 30, "4096"},
                        {"sliding_window_pattern", Kind::kInteger, 1, 4096, "6", {"_sliding_window_pattern"}},
                        {"layer_types", Kind::kList, 0, 0, "[]"},
                        {kLocalBase, Kind::kReal, 1, 1e15, "10000"}},
      .keys = {{field::kActivation, {"gelu_pytorch_tanh"}},
               {{"attention_bias"}, {false}},
               {{"query_pre_attn_scalar", "max_position_embeddings", "cache_implementation"},
                {},
                KnownKey::Otherwise::kAccept},
               {{"layer_types"}, {"sliding_attention", "full_attention"}},
               {{"tie_word_embeddings"}, {true}}},
      .rope = rope_of_heads,
      .local_rope = local_rope,
      .create = create,
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
      .infer = infer,
  };
}

}  // namespace

const ModelDefinition& gemma3() {
  static const ModelDefinition definition = define("gemma3", "Gemma3ForConditionalGeneration");
  return definition;
}

const ModelDefinition& gemma3_text() {
  static const ModelDefinition definition = define("gemma3_text", "Gemma3ForCausalLM");
  return definition;
}

}  // namespace mlc::frontend
