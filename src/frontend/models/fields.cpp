// The config fields that many models share.
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace field {
namespace {

using Kind = ConfigField::Kind;

constexpr double kMaxSize = 1 << 24;
constexpr double kMaxHeads = 1 << 16;
constexpr double kMaxLayers = 4096;
constexpr double kMaxExperts = 1 << 15;
constexpr double kMaxVocab = 1 << 28;
constexpr double kMaxCount = 2147483647;  // 2^31 - 1: token counts are int32 in every function

}  // namespace

ConfigField size(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxSize}; }
ConfigField heads(std::string name, bool inferred) {
  return {std::move(name), Kind::kInteger, 1, kMaxHeads, inferred ? "0" : ""};
}
ConfigField layers(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxLayers}; }
ConfigField experts(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxExperts}; }
ConfigField vocab_size() { return {"vocab_size", Kind::kInteger, 1, kMaxVocab}; }
ConfigField norm_eps(std::string name) { return {std::move(name), Kind::kReal, 1e-30, 1}; }
ConfigField rope_base(std::vector<std::string> aliases) {
  return {"position_embedding_base", Kind::kReal, 1, 1e15, "10000", std::move(aliases)};
}
ConfigField rope_scaling() { return {"rope_scaling", Kind::kAny, 0, 0, "null"}; }
ConfigField head_dim() { return {"head_dim", Kind::kInteger, 1, kMaxHeads, "0"}; }
ConfigField context_window_size(std::vector<std::string> aliases, double low) {
  return {"context_window_size", Kind::kInteger, low, kMaxCount, "0", std::move(aliases)};
}
ConfigField endless_context() { return {"context_window_size", Kind::kInteger, -1, kMaxCount, "-1"}; }
ConfigField layer_window() { return {"sliding_window", Kind::kInteger, 0, 1 << 30, "0"}; }
ConfigField prefill_chunk_size() { return {"prefill_chunk_size", Kind::kInteger, 1, kMaxCount, "0"}; }
ConfigField count(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxCount, "1"}; }
ConfigField flag(std::string name, bool fallback) {
  return {std::move(name), Kind::kFlag, 0, 0, fallback ? "true" : "false"};
}

std::vector<ConfigField> of_llama(std::vector<ConfigField> more) {
  std::vector<ConfigField> fields = {size("hidden_size"),
                                     size("intermediate_size"),
                                     heads("num_attention_heads"),
                                     layers("num_hidden_layers"),
                                     norm_eps("rms_norm_eps"),
                                     vocab_size(),
                                     flag("tie_word_embeddings", false),
                                     rope_base(),
                                     rope_scaling(),
                                     context_window_size(),
                                     prefill_chunk_size(),
                                     heads("num_key_value_heads", /*inferred=*/true),
                                     head_dim(),
                                     count("tensor_parallel_shards"),
                                     count("pipeline_parallel_stages"),
                                     count("max_batch_size")};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

}  // namespace field

}  // namespace mlc::frontend
