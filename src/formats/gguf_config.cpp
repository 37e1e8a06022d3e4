// Hugging Face's config.json, and the tokenizer's data, from the metadata of a GGUF file.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/number.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/gguf_architectures.h"

namespace mlc {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 31;  // no size in a config is larger

// The metadata of one architecture; the first problem met is kept and ends the work at finish().
class Metadata {
 public:
  Metadata(const Gguf& gguf, std::string_view arch, const std::string& what)
      : gguf_(gguf), arch_(arch), what_(what) {}

  std::string key(std::string_view name) const { return str(arch_, ".", name); }

  // A count from 1 to 2^31; 0 after a problem.
  int64_t count(std::string_view name, std::optional<int64_t> fallback = {}) {
    const GgufValue* value = gguf_.find(key(name));
    if (!value && fallback) return *fallback;
    if (value && value->type == GgufValue::Type::kArray) return uniform(*value, name);
    if (!value || !value->is_integer() || value->integer < 1 || value->integer > kMaxCount) {
      problem(name, value, "an integer from 1 to 2147483648");
      return 0;
    }
    return value->integer;
  }

  // A finite number as the shortest decimal that reads back as the same f32 (1e-05, not 9.99999974e-06).
  double number(std::string_view name, std::optional<double> fallback = {}) {
    const GgufValue* value = gguf_.find(key(name));
    if (!value && fallback) return *fallback;
    if (!value || !value->is_number() || !std::isfinite(value->number)) {
      problem(name, value, "a number");
      return 0;
    }
    if (value->type != GgufValue::Type::kF32) return value->number;
    char text[64];
    auto written = std::to_chars(text, text + sizeof text, static_cast<float>(value->number));
    double shortest = 0;
    read_double({text, static_cast<size_t>(written.ptr - text)}, shortest);
    return shortest;
  }

  std::string_view text(std::string_view name) const { return gguf_.find_text(key(name)); }
  bool has(std::string_view name) const { return gguf_.find(key(name)) != nullptr; }
  bool flag(std::string_view name, bool fallback) const {
    const GgufValue* value = gguf_.find(key(name));
    return value && value->is_integer() ? value->integer != 0 : fallback;
  }
  Status finish() const { return status_; }

 private:
  // A list with one number per layer, all the same.
  int64_t uniform(const GgufValue& list, std::string_view name) {
    bool numbers = list.element_type != GgufValue::Type::kText && list.count > 0;
    double first = numbers ? list.element(0) : 0;
    bool same =
        numbers && first >= 1 && first <= static_cast<double>(kMaxCount) && first == std::floor(first);
    for (uint64_t i = 1; same && i < list.count; ++i) same = list.element(i) == first;
    if (same) return static_cast<int64_t>(first);
    problem(name, &list, "the same count in every layer");
    return 0;
  }
  void problem(std::string_view name, const GgufValue* value, std::string_view expected) {
    if (!status_.is_ok()) return;
    std::string found = !value                                  ? "missing"
                        : value->is_number()                    ? str(value->number)
                        : value->type == GgufValue::Type::kText ? "a text"
                                                                : "an array";
    status_ = Status::error(str(what_, ": metadata ", key(name), " is ", found, "; expected ", expected));
  }

  const Gguf& gguf_;
  std::string_view arch_;
  const std::string& what_;
  Status status_;
};

const GgufTensor* find_tensor(const Gguf& gguf, std::string_view name) {
  for (const GgufTensor& tensor : gguf.tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

// Llama 3 stretches its wavelengths by `factor` except the short ones; converters store the result per pair
// of dimensions as rope_freqs.weight. Its constants other than the factor are the same in all of its models:
// 1, 4 and 8192.
Result<Json> llama3_scaling(const GgufTensor& tensor, std::span<const std::byte> file, double theta,
                            int64_t head_dim, const std::string& what) {
  constexpr double kLow = 1, kHigh = 4, kOriginal = 8192;
  auto bad = [&](const std::string& found) {
    return Status::error(
        str(what, ": tensor 'rope_freqs.weight' ", found, "; expected the rope factors of Llama 3"));
  };
  int64_t pairs = head_dim / 2;
  if (pairs < 1 || tensor.type != GgufType::kF32 || tensor.shape != std::vector<int64_t>{pairs})
    return bad(str("has shape ", shown_shape(tensor.shape), " and type ", gguf_type_info(tensor.type).name));
  std::vector<float> factors(static_cast<size_t>(pairs));
  dequantize_gguf(tensor.type, file.subspan(tensor.offset, tensor.size), factors);
  float factor = *std::max_element(factors.begin(), factors.end());
  if (!(factor >= 1 && factor <= 1024)) return bad(str("has the largest factor ", factor));
  for (int64_t i = 0; i < pairs; ++i) {
    double wavelength =
        2 * M_PI * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    double smooth = (kOriginal / wavelength - kLow) / (kHigh - kLow);
    double expected = smooth >= 1 ? 1 : smooth <= 0 ? factor : 1 / ((1 - smooth) / factor + smooth);
    float found = factors[static_cast<size_t>(i)];
    if (!(std::fabs(found - expected) <= 1e-3 * expected)) return bad(str("has factor ", found, " at ", i));
  }
  return Json{{"factor", factor},
              {"high_freq_factor", kHigh},
              {"low_freq_factor", kLow},
              {"original_max_position_embeddings", static_cast<int64_t>(kOriginal)},
              {"rope_type", "llama3"}};
}

// null when positions are not scaled.
Result<Json> rope_scaling(const Gguf& gguf, std::span<const std::byte> file, Metadata& meta, double theta,
                          int64_t head_dim, const std::string& what) {
  if (const GgufTensor* freqs = find_tensor(gguf, "rope_freqs.weight"))
    return llama3_scaling(*freqs, file, theta, head_dim, what);
  std::string_view type = meta.text("rope.scaling.type");
  for (const char* factor : {"rope.scaling.factor", "rope.scale_linear"})  // linear where no type is said
    if (type.empty() && meta.has(factor) && meta.number(factor) != 0)
      return Json{{"factor", meta.number(factor)}, {"rope_type", "linear"}};
  if (type.empty() || type == "none") return Json();
  if (type != "linear" && type != "yarn")
    return Status::error(str(what, ": metadata ", meta.key("rope.scaling.type"), " is ", shown_name(type),
                             "; expected none, linear or yarn"));
  Json scaling{{"factor", meta.number("rope.scaling.factor")}, {"rope_type", type}};
  if (meta.has("rope.scaling.original_context_length"))
    scaling["original_max_position_embeddings"] = meta.count("rope.scaling.original_context_length");
  return scaling;
}

// What the file says of sampling. One that says nothing gets what MLC's documents give: without, small models
// loop.
void add_sampling(const Gguf& gguf, Json& config) {
  auto number = [&](std::string_view key) -> std::optional<double> {
    const GgufValue* v = gguf.find(key);
    return v && v->is_number() ? std::optional(v->number) : std::nullopt;
  };
  std::optional<double> temperature = number("general.sampling.temp"),
                        top_p = number("general.sampling.top_p");
  if (temperature && !(*temperature >= 0)) temperature.reset();
  if (top_p && !(*top_p > 0 && *top_p <= 1)) top_p.reset();
  if (!temperature && !top_p) top_p = 0.95;
  config["temperature"] = temperature.value_or(0.7);
  if (top_p) config["top_p"] = *top_p;
}

void add_token_ids(const Gguf& gguf, Json& config) {
  for (std::string_view name : {"bos", "eos"}) {
    const GgufValue* id = gguf.find(str("tokenizer.ggml.", name, "_token_id"));
    if (id && id->is_integer()) config[str(name, "_token_id")] = id->integer;
  }
}

// Keys that only GPT-NeoX has, or names otherwise.
void add_neox_keys(Metadata& meta, int64_t head_dim, double theta, Json& config) {
  config["hidden_act"] = "gelu";
  config["layer_norm_eps"] = meta.number("attention.layer_norm_epsilon", 1e-5);
  config["rotary_emb_base"] = theta;
  config["rotary_pct"] = static_cast<double>(meta.count("rope.dimension_count", head_dim)) /
                         static_cast<double>(std::max<int64_t>(head_dim, 1));
  config["use_parallel_residual"] = meta.flag("use_parallel_residual", true);
}

void add_llama_keys(const Gguf& gguf, Metadata& meta, int64_t kv_heads, int64_t head_dim, double theta,
                    Json& config) {
  config["attention_bias"] = find_tensor(gguf, "blk.0.attn_q.bias") != nullptr;
  config["head_dim"] = head_dim;
  config["hidden_act"] = "silu";
  config["mlp_bias"] = find_tensor(gguf, "blk.0.ffn_up.bias") != nullptr;
  config["num_key_value_heads"] = kv_heads;
  config["rms_norm_eps"] = meta.number("attention.layer_norm_rms_epsilon");
  config["rope_theta"] = theta;
}

template <typename T>
Status copy_numbers(const Gguf& gguf, std::string_view key, size_t tokens, std::vector<T>& out,
                    const std::string& what) {
  const GgufValue* value = gguf.find(key);
  if (!value) return Status::ok();
  if (value->type != GgufValue::Type::kArray || value->element_type == GgufValue::Type::kText ||
      value->count != tokens)
    return Status::error(
        str(what, ": metadata ", key, " is not an array of ", tokens, " numbers, one for each token"));
  out.reserve(tokens);
  for (uint64_t i = 0; i < value->count; ++i) {
    double number = value->element(i);
    if (!(std::fabs(number) <= 2e9))
      return Status::error(str(what, ": metadata ", key, " holds ", number, " at ", i));
    out.push_back(static_cast<T>(number));
  }
  return Status::ok();
}

Status copy_texts(const Gguf& gguf, std::string_view key, std::vector<std::string>& out,
                  const std::string& what) {
  const GgufValue* value = gguf.find(key);
  if (!value) return Status::ok();
  if (value->type != GgufValue::Type::kArray || value->element_type != GgufValue::Type::kText)
    return Status::error(str(what, ": metadata ", key, " is not an array of texts"));
  out.assign(value->texts.begin(), value->texts.end());
  return Status::ok();
}

Status copy_id(const Gguf& gguf, std::string_view key, size_t tokens, std::optional<int64_t>& out,
               const std::string& what) {
  const GgufValue* value = gguf.find(key);
  if (!value) return Status::ok();
  if (!value->is_integer()) return Status::error(str(what, ": metadata ", key, " is not an integer"));
  if (value->integer < 0 || value->integer == 0xFFFFFFFF) return Status::ok();  // how converters write "none"
  if (static_cast<uint64_t>(value->integer) >= tokens)
    return Status::error(str(what, ": metadata ", key, " is ", value->integer, "; expected less than the ",
                             tokens, " tokens"));
  out = value->integer;
  return Status::ok();
}

// A byte-level vocabulary whose words nothing can build: every text would fall into bytes.
Status check_merges(const GgufTokenizer& t, const std::string& what) {
  if (t.model != "gpt2" || !t.merges.empty()) return Status::ok();
  for (size_t i = 0; i < t.tokens.size(); ++i) {
    const bool normal = t.token_types.empty() || t.token_types[i] == 1;
    const auto characters = std::ranges::count_if(t.tokens[i], [](char c) { return (c & 0xC0) != 0x80; });
    if (normal && characters > 1)
      return Status::error(
          str(what,
              ": metadata tokenizer.ggml.merges is missing; expected the merges of a gpt2 vocabulary, "
              "without which every word falls into bytes; convert the model to GGUF again"));
  }
  return Status::ok();
}

std::optional<bool> find_flag(const Gguf& gguf, std::string_view key) {
  const GgufValue* value = gguf.find(key);
  return value && value->is_integer() ? std::optional(value->integer != 0) : std::nullopt;
}

}  // namespace

Result<int64_t> gguf_head_count(const Gguf& gguf, const GgufArchitecture& arch, bool kv,
                                const std::string& what) {
  Metadata meta(gguf, arch.name, what);
  int64_t heads = meta.count("attention.head_count");
  if (kv) heads = meta.count("attention.head_count_kv", heads);
  RETURN_IF_ERROR(meta.finish());
  if (heads > 65'536)
    return Status::error(str(what, ": metadata ", meta.key("attention.head_count"), " is ", heads,
                             "; expected at most 65536"));
  return heads;
}

Result<Json> gguf_config(const Gguf& gguf, std::span<const std::byte> file, const std::string& what) {
  ASSIGN_OR_RETURN(const GgufArchitecture* arch, find_gguf_architecture(gguf, what));
  Metadata meta(gguf, arch->name, what);
  bool neox = arch->name == "gptneox";
  ASSIGN_OR_RETURN(int64_t heads, gguf_head_count(gguf, *arch, false, what));
  ASSIGN_OR_RETURN(int64_t kv_heads, gguf_head_count(gguf, *arch, true, what));
  int64_t hidden = meta.count("embedding_length");
  int64_t head_dim = meta.count("attention.key_length", std::max<int64_t>(hidden / heads, 1));
  double theta = meta.number("rope.freq_base", 10000.0);
  const GgufTensor* embedding = find_tensor(gguf, "token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    return Status::error(
        str(what, ": no matrix 'token_embd.weight'; expected the token embeddings of a language model"));
  ASSIGN_OR_RETURN(Json scaling, rope_scaling(gguf, file, meta, theta, head_dim, what));

  Json config{{"architectures", Json::array({arch->class_name})}, {"model_type", arch->model_type}};
  add_token_ids(gguf, config);
  add_sampling(gguf, config);
  config["hidden_size"] = hidden;
  config["intermediate_size"] = meta.count("feed_forward_length");
  config["max_position_embeddings"] = meta.count("context_length");
  config["num_attention_heads"] = heads;
  config["num_hidden_layers"] = meta.count("block_count");
  if (neox)
    add_neox_keys(meta, head_dim, theta, config);
  else
    add_llama_keys(gguf, meta, kv_heads, head_dim, theta, config);
  if (!scaling.is_null()) config["rope_scaling"] = std::move(scaling);
  config["tie_word_embeddings"] = find_tensor(gguf, "output.weight") == nullptr;
  config["torch_dtype"] = "float16";
  config["vocab_size"] = embedding->shape[0];
  RETURN_IF_ERROR(meta.finish());
  return config;
}

Result<GgufTokenizer> gguf_tokenizer(const Gguf& gguf, const std::string& what) {
  GgufTokenizer t;
  t.model = gguf.find_text("tokenizer.ggml.model");
  t.pre = gguf.find_text("tokenizer.ggml.pre");
  t.chat_template = gguf.find_text("tokenizer.chat_template");
  RETURN_IF_ERROR(copy_texts(gguf, "tokenizer.ggml.tokens", t.tokens, what));
  if (t.model.empty() || t.tokens.empty())
    return Status::error(str(
        what, ": no tokenizer.ggml.model or no tokenizer.ggml.tokens; expected a model with its tokenizer"));
  RETURN_IF_ERROR(copy_texts(gguf, "tokenizer.ggml.merges", t.merges, what));
  RETURN_IF_ERROR(copy_numbers(gguf, "tokenizer.ggml.scores", t.tokens.size(), t.scores, what));
  RETURN_IF_ERROR(copy_numbers(gguf, "tokenizer.ggml.token_type", t.tokens.size(), t.token_types, what));
  struct {
    std::string_view key;
    std::optional<int64_t>* id;
  } const ids[] = {{"tokenizer.ggml.bos_token_id", &t.bos_id},
                   {"tokenizer.ggml.eos_token_id", &t.eos_id},
                   {"tokenizer.ggml.eot_token_id", &t.eot_id},
                   {"tokenizer.ggml.unknown_token_id", &t.unknown_id},
                   {"tokenizer.ggml.padding_token_id", &t.padding_id},
                   {"tokenizer.ggml.eom_token_id", &t.eom_id},
                   {"tokenizer.ggml.seperator_token_id", &t.separator_id},
                   {"tokenizer.ggml.cls_token_id", &t.class_id},
                   {"tokenizer.ggml.mask_token_id", &t.mask_id}};
  for (const auto& [key, id] : ids) RETURN_IF_ERROR(copy_id(gguf, key, t.tokens.size(), *id, what));
  t.add_bos = find_flag(gguf, "tokenizer.ggml.add_bos_token");
  t.add_eos = find_flag(gguf, "tokenizer.ggml.add_eos_token");
  t.add_space_prefix = find_flag(gguf, "tokenizer.ggml.add_space_prefix");
  RETURN_IF_ERROR(check_merges(t, what));
  return t;
}

}  // namespace mlc
