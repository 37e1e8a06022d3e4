// Rules for the keys of a GGUF file that become no key of a config.
#include "formats/gguf_keys.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

constexpr size_t kListed = 40;  // names in a note

// With which value a key changes nothing, and what becomes of others.
struct KeyRule {
  std::string_view name;
  enum class Neutral : uint8_t {
    kAny,
    kZero,       // how writers say "none", and a flag that is off
    kZeroOrOne,  // a multiplier
    kTrue,
    kHeadDim,     // the size of a head
    kUsualScale,  // 0, or 1 / sqrt(size of a head)
    kNoSmaller,   // 0, or at least the context
  } neutral = Neutral::kAny;
  bool refused = true;  // other values; else they are noted
};

using enum KeyRule::Neutral;

// After "<architecture>.". Applied ones (gguf_config.cpp) and those that say how the file was made are kAny.
constexpr KeyRule kModelRules[] = {
    {"attention.head_count"},
    {"attention.head_count_kv"},
    {"attention.key_length"},
    {"block_count"},
    {"context_length"},
    {"embedding_length"},
    {"feed_forward_length"},
    {"rope.freq_base"},
    {"rope.scale_linear"},
    {"rope.scaling.factor"},
    {"rope.scaling.finetuned"},
    {"rope.scaling.original_context_length"},
    {"rope.scaling.type"},
    {"tensor_data_layout"},
    {"vocab_size"},

    {"attention.causal", kTrue},
    {"attention.clamp_kqv", kZero},
    {"attention.max_alibi_bias", kZero},
    {"attention.scale", kUsualScale},
    {"attention.sliding_window", kNoSmaller, false},
    {"attention.value_length", kHeadDim},
    {"attn_logit_softcapping", kZero},
    {"embedding_scale", kZeroOrOne},
    {"expert_count", kZero},
    {"expert_used_count", kZero, false},
    {"expert_shared_count", kZero, false},
    {"final_logit_softcapping", kZero},
    {"leading_dense_block_count", kZero, false},
    {"logit_scale", kZeroOrOne},
    {"nextn_predict_layers", kZero, false},
    {"pooling_type", kZero, false},
    {"residual_scale", kZeroOrOne},
    {"rope.dimension_count", kHeadDim},
    {"rope.scaling.attn_factor", kZeroOrOne},
    {"swin_norm", kZero},
    {"use_parallel_residual", kZero},
};
// Applied in some architectures.
bool is_applied(std::string_view architecture, std::string_view name) {
  if (architecture != "gptneox") return name == "attention.layer_norm_rms_epsilon";
  return name == "attention.layer_norm_epsilon" || name == "rope.dimension_count" ||
         name == "use_parallel_residual";
}

// What the tokenizer room and gen_config read, or may leave out.
bool is_known_tokenizer_key(std::string_view name) {
  constexpr std::string_view kKnown[] = {"model",
                                         "pre",
                                         "tokens",
                                         "scores",
                                         "token_type",
                                         "merges",
                                         "token_type_count",
                                         "add_bos_token",
                                         "add_eos_token",
                                         "add_sep_token",
                                         "add_space_prefix",
                                         "remove_extra_whitespaces",
                                         "precompiled_charsmap",
                                         "eos_token_ids"};
  return name.ends_with("_token_id") || std::ranges::find(kKnown, name) != std::end(kKnown);
}

std::string shown_value(const GgufValue& value) {
  if (value.is_number())
    return value.type == GgufValue::Type::kBool ? (value.integer ? "true" : "false") : str(value.number);
  if (value.type == GgufValue::Type::kText) return shown_name(value.text.substr(0, 60));
  return str("an array of ", value.count);
}

class KeyCheck {
 public:
  KeyCheck(const Gguf& gguf, const Json& config, const std::string& what)
      : gguf_(gguf),
        what_(what),
        arch_(gguf.find_text("general.architecture")),
        context_(static_cast<double>(find_int(config, "max_position_embeddings").value_or(0))) {
    const int64_t heads = std::max<int64_t>(find_int(config, "num_attention_heads").value_or(1), 1);
    head_dim_ = static_cast<double>(
        find_int(config, "head_dim").value_or(find_int(config, "hidden_size").value_or(0) / heads));
  }

  Status run(std::vector<std::string>& notes) {
    for (const auto& [key, value] : gguf_.metadata) RETURN_IF_ERROR(check(key, value));
    RETURN_IF_ERROR(check_type());
    if (left_.empty()) return Status::ok();
    const std::string more = left_.size() > kListed ? str(" and ", left_.size() - kListed, " more") : "";
    left_.resize(std::min(left_.size(), kListed));
    notes.push_back(str(what_, ": metadata that is not applied: ", join(left_, ", "), more,
                        "; if the model was trained with it, answers differ"));
    return Status::ok();
  }

 private:
  Status check(std::string_view key, const GgufValue& value) {
    if (key.starts_with(str(arch_, "."))) return check_model_key(key, key.substr(arch_.size() + 1), value);
    const bool sampling = key.starts_with("general.sampling.") && key != "general.sampling.temp" &&
                          key != "general.sampling.top_p";
    const bool tokenizer = key.starts_with("tokenizer.ggml.") && !is_known_tokenizer_key(key.substr(15));
    if (sampling || tokenizer) leave(key, value);
    return Status::ok();
  }

  Status check_model_key(std::string_view key, std::string_view name, const GgufValue& value) {
    if (is_applied(arch_, name)) return Status::ok();
    const KeyRule* rule = std::ranges::find(kModelRules, name, &KeyRule::name);
    const bool known = rule != std::end(kModelRules);
    if (known && is_neutral(*rule, value)) return Status::ok();
    if (known && rule->refused)
      return Status::error(str(what_, ": metadata ", shown_name(key), " is ", shown_value(value),
                               "; expected ", expectation(*rule),
                               ", this variant of the model is not built"));
    leave(key, value);
    return Status::ok();
  }

  // A file of another kind: an adapter, an image projector, calibration data.
  Status check_type() {
    const std::string_view type = gguf_.find_text("general.type");
    if (type.empty() || type == "model") return Status::ok();
    return Status::error(str(what_, ": metadata general.type is ", shown_name(type),
                             "; expected 'model', the weights of a language model"));
  }

  bool is_neutral(const KeyRule& rule, const GgufValue& value) const {
    if (rule.neutral == kAny) return true;
    if (!value.is_number()) return is_uniform(rule, value);
    return is_neutral(rule, value.number);
  }
  bool is_neutral(const KeyRule& rule, double number) const {
    switch (rule.neutral) {
      case kAny: return true;
      case kZero: return number == 0;
      case kZeroOrOne: return number == 0 || number == 1;
      case kTrue: return number == 1;
      case kHeadDim: return number == head_dim_;
      case kUsualScale: return number == 0 || std::fabs(number * std::sqrt(head_dim_) - 1) < 1e-3;
      case kNoSmaller: return number == 0 || (context_ > 0 && number >= context_);
    }
    return false;
  }
  // An array with a value per layer.
  bool is_uniform(const KeyRule& rule, const GgufValue& value) const {
    if (value.type != GgufValue::Type::kArray || value.element_type == GgufValue::Type::kText) return false;
    for (uint64_t i = 0; i < value.count; ++i)
      if (!is_neutral(rule, value.element(i))) return false;
    return true;
  }

  std::string expectation(const KeyRule& rule) const {
    switch (rule.neutral) {
      case kZeroOrOne: return "1";
      case kTrue: return "true";
      case kHeadDim: return str(head_dim_, ", the size of a head");
      case kUsualScale: return str(1 / std::sqrt(head_dim_));
      default: return "0 or none";
    }
  }

  void leave(std::string_view key, const GgufValue& value) {
    left_.push_back(str(shown_name(key), " (", shown_value(value), ")"));
  }

  const Gguf& gguf_;
  const std::string& what_;
  std::string_view arch_;
  double head_dim_ = 0, context_ = 0;
  std::vector<std::string> left_;
};

}  // namespace

Status check_gguf_keys(const Gguf& gguf, const Json& config, const std::string& what,
                       std::vector<std::string>& notes) {
  return KeyCheck(gguf, config, what).run(notes);
}

}  // namespace mlc
