// The config fields that many models share, and the checks that model files make of a checkpoint's config.
#include "base/strings.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace field {
namespace {

using Kind = ConfigField::Kind;

constexpr double kMaxSize = 1 << 24;
constexpr double kMaxHeads = 1 << 16;
constexpr double kMaxLayers = 4096;
constexpr double kMaxVocab = 1 << 28;
constexpr double kMaxCount = 2147483647;  // 2^31 - 1: token counts are int32 in every function

}  // namespace

ConfigField size(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxSize}; }
ConfigField heads(std::string name, bool inferred) {
  return {std::move(name), Kind::kInteger, 1, kMaxHeads, inferred ? "0" : ""};
}
ConfigField layers(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxLayers}; }
ConfigField vocab_size() { return {"vocab_size", Kind::kInteger, 1, kMaxVocab}; }
ConfigField norm_eps(std::string name) { return {std::move(name), Kind::kReal, 1e-30, 1}; }
ConfigField rope_base() {
  return {"position_embedding_base", Kind::kReal, 1, 1e15, "10000", {"rope_theta", "rotary_emb_base"}};
}
ConfigField rope_scaling() { return {"rope_scaling", Kind::kAny, 0, 0, "null"}; }
ConfigField head_dim() { return {"head_dim", Kind::kInteger, 1, kMaxHeads, "0"}; }
ConfigField context_window_size() {
  return {"context_window_size",
          Kind::kInteger,
          1,
          kMaxCount,
          "0",
          {"max_position_embeddings", "max_sequence_length"}};
}
ConfigField prefill_chunk_size() { return {"prefill_chunk_size", Kind::kInteger, 1, kMaxCount, "0"}; }
ConfigField count(std::string name) { return {std::move(name), Kind::kInteger, 1, kMaxCount, "1"}; }
ConfigField flag(std::string name, bool fallback) {
  return {std::move(name), Kind::kFlag, 0, 0, fallback ? "true" : "false"};
}

}  // namespace field

Status require_text(const Json& hf, const std::string& key, const std::vector<std::string>& allowed,
                    const std::string& what) {
  const Json* value = find(hf, key);
  if (!value) return Status::ok();
  for (const std::string& text : allowed)
    if (value->is_string() && value->get<std::string>() == text) return Status::ok();
  return Status::error(str(what, ": key '", key, "' is ", json_text(*value).substr(0, 60), ", expected ",
                           join(allowed, " or "), "; this variant of the model is not built"));
}

Status refuse_flag(const Json& hf, const std::string& key, const std::string& what) {
  const Json* value = find(hf, key);
  if (!value || (value->is_boolean() && !value->get<bool>())) return Status::ok();
  return Status::error(str(what, ": key '", key, "' is ", json_text(*value).substr(0, 60),
                           ", expected false; this variant of the model is not built"));
}

}  // namespace mlc::frontend
