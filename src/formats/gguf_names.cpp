// Tables from GGUF's tensor names to Hugging Face's, one per architecture, and where the rows of moved
// weights lie.
#include "formats/gguf_names.h"

#include <algorithm>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/gguf_architectures.h"

namespace mlc {
namespace {

using Kind = RowOrder::Kind;

constexpr GgufNameRow kLlamaLayer[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", Kind::kLlamaPairs, false},
    {"attn_k", "self_attn.k_proj", Kind::kLlamaPairs, true},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
// Qwen's rows stay where Hugging Face has them.
constexpr GgufNameRow kQwenLayer[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
constexpr GgufNameRow kNeoxLayer[] = {
    {"attn_norm", "input_layernorm"},   {"attn_qkv", "attention.query_key_value", Kind::kNeoxQkv, false},
    {"attn_output", "attention.dense"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.dense_h_to_4h"},    {"ffn_down", "mlp.dense_4h_to_h"},
};
constexpr GgufNameRow kLlamaTop[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr GgufNameRow kNeoxTop[] = {{"token_embd", "gpt_neox.embed_in"},
                                    {"output_norm", "gpt_neox.final_layer_norm"},
                                    {"output", "embed_out"}};

constexpr GgufArchitecture kArchitectures[] = {
    {"llama", "llama", "LlamaForCausalLM", "model.layers.", kLlamaTop, kLlamaLayer},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", "model.layers.", kLlamaTop, kQwenLayer},
    {"gptneox", "gpt_neox", "GPTNeoXForCausalLM", "gpt_neox.layers.", kNeoxTop, kNeoxLayer},
};

const GgufNameRow* find_row(std::span<const GgufNameRow> rows, std::string_view name) {
  for (const GgufNameRow& row : rows)
    if (row.gguf == name) return &row;
  return nullptr;
}

// Splits "blk.12.attn_q" into 12 and "attn_q"; nullopt when it has another form.
std::optional<std::pair<int64_t, std::string_view>> split_layer(std::string_view name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  name.remove_prefix(4);
  size_t digits = 0;
  int64_t layer = 0;
  while (digits < name.size() && digits < 6 && name[digits] >= '0' && name[digits] <= '9')
    layer = layer * 10 + (name[digits++] - '0');
  bool leading_zero = digits > 1 && name[0] == '0';
  if (digits == 0 || leading_zero || digits >= name.size() || name[digits] != '.') return std::nullopt;
  return std::pair(layer, name.substr(digits + 1));
}

// The order of a moved tensor's rows, or why they cannot have been moved so.
Status find_row_order(const Gguf& gguf, const GgufArchitecture& arch, const GgufNameRow& row,
                      const GgufTensor& tensor, const std::string& what, GgufName& name) {
  if (row.kind == Kind::kSame || !tensor.unread.empty()) return Status::ok();
  ASSIGN_OR_RETURN(int64_t heads, gguf_head_count(gguf, arch, row.kv_heads, what));
  int64_t parts = row.kind == Kind::kLlamaPairs ? 2 : 3;
  int64_t rows = tensor.shape.empty() ? 0 : tensor.shape[0];
  bool divides = rows > 0 && rows % (heads * parts) == 0;
  bool plain = tensor.shape.size() == 2 || (tensor.shape.size() == 1 && gguf_type_info(tensor.type).plain);
  if (!divides)
    name.unread = str("has shape ", shown_shape(tensor.shape), "; expected rows in ", heads, " heads of ",
                      parts, " equal parts");
  else if (!plain)
    name.unread = str("has shape ", shown_shape(tensor.shape), " and type ", tensor.stored_type,
                      "; expected a matrix, or a vector of a plain type");
  else
    name.order = RowOrder{row.kind, heads};
  return Status::ok();
}

}  // namespace

int64_t RowOrder::stored_row(int64_t row, int64_t rows) const {
  if (kind == Kind::kSame) return row;
  if (kind == Kind::kLlamaPairs) {
    int64_t d = rows / heads, h = row / d, j = row % d / (d / 2), i = row % (d / 2);
    return h * d + 2 * i + j;
  }
  int64_t d = rows / (3 * heads), h = row / (3 * d), c = row / d % 3, i = row % d;
  return (c * heads + h) * d + i;
}

Result<const GgufArchitecture*> find_gguf_architecture(const Gguf& gguf, const std::string& what) {
  std::string_view name = gguf.find_text("general.architecture");
  std::vector<std::string> known;
  for (const GgufArchitecture& arch : kArchitectures) {
    if (arch.name == name) return &arch;
    known.emplace_back(arch.name);
  }
  return Status::error(str(what, ": general.architecture is ", shown_name(name), "; expected one of ",
                           join(known, ", "), "; models of other architectures are not built"));
}

Status check_gguf_architecture(const Gguf& gguf, const std::string& what) {
  return find_gguf_architecture(gguf, what).status();
}

Result<std::optional<GgufName>> translate_gguf_tensor(const Gguf& gguf, const GgufTensor& tensor,
                                                      const std::string& what) {
  ASSIGN_OR_RETURN(const GgufArchitecture* arch, find_gguf_architecture(gguf, what));
  std::string_view name = tensor.name, suffix;
  if (name == "rope_freqs.weight") return std::optional<GgufName>();
  for (std::string_view s : {".weight", ".bias"})
    if (name.ends_with(s)) suffix = s;
  std::string_view stem = name.substr(0, name.size() - suffix.size());
  auto layer = split_layer(stem);
  const GgufNameRow* row = layer ? find_row(arch->layer, layer->second) : find_row(arch->top, stem);
  if (!row || suffix.empty()) return std::optional(GgufName{std::string(name), {}, {}});
  GgufName translated{layer ? str(arch->layer_prefix, layer->first, ".", row->hugging_face, suffix)
                            : str(row->hugging_face, suffix),
                      {},
                      {}};
  RETURN_IF_ERROR(find_row_order(gguf, *arch, *row, tensor, what, translated));
  return std::optional(std::move(translated));
}

}  // namespace mlc
