// Tells harmless extra tensors from those that show that config.json is another model's.
#include "weights/extra.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/quant/plain.h"

namespace mlc::weights {
namespace {

constexpr size_t kListed = 5;  // names in a note

bool ends_with_any(const std::string& name, const std::vector<std::string>& ends) {
  return std::ranges::any_of(ends, [&](const std::string& end) { return name.ends_with(end); });
}

// Of a packed weight that is used in one form, the others (Checkpoint::add_packed).
bool is_another_form(const std::string& name, const std::set<std::string>& used) {
  const std::string module = name.substr(0, name.rfind('.') + 1);
  return !name.ends_with(".weight") || used.contains(module + "qweight");
}

// Tensors beside packed weights that were read when those were found: an order of inputs that is none,
// shapes.
bool describes_packing(const std::string& name) {
  return ends_with_any(name, {".g_idx", ".weight_g_idx", ".weight_shape"}) ||
         name.find(".quant_state.") != std::string::npos;
}

// What modules keep beside their weights, made anew by every program.
bool is_buffer(const std::string& name) {
  static const std::vector<std::string> ends = {
      "rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", "rotary_pos_emb.inv_freq",
      "rope.freqs",          "position_ids",          ".masked_bias",          ".attention.bias",
      ".attn.bias",          "._extra_state"};
  return ends_with_any(name, ends);
}

// "model.layers.12.": up to the number of a layer, or "" outside of layers.
std::string layer_prefix(const std::string& name) {
  for (const char* word : {"layers.", "blk."}) {
    size_t at = name.find(word);
    if (at == std::string::npos) continue;
    size_t end = at + std::string_view(word).size();
    while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end]))) ++end;
    if (end < name.size() && name[end] == '.') return name.substr(0, end + 1);
  }
  return "";
}

bool any_begins(const std::set<std::string>& names, const std::string& prefix) {
  auto it = names.lower_bound(prefix);
  return it != names.end() && it->starts_with(prefix);
}

// A layer past those of the model: the first layer has the same tensor, and that one is used.
bool is_later_layer(const std::string& name, const std::set<std::string>& used) {
  const std::string prefix = layer_prefix(name);
  if (prefix.empty() || any_begins(used, prefix)) return false;
  const size_t digits = prefix.find_last_not_of("0123456789", prefix.size() - 2) + 1;
  return used.contains(prefix.substr(0, digits) + "0." + name.substr(prefix.size()));
}

bool is_zero(const Checkpoint& checkpoint, const SourceTensor& tensor) {
  if (!is_float(tensor.dtype) || tensor.dtype > DType::kF64 || tensor.shape.size() != 1) return false;
  std::vector<std::byte> buffer;
  std::span<const std::byte> bytes = checkpoint.read(checkpoint.find(tensor.name), buffer);
  std::vector<float> values(static_cast<size_t>(tensor.shape[0]));
  decode_floats(tensor.dtype, bytes.data(), values);
  return std::ranges::all_of(values, [](float value) { return value == 0; });
}

// What a tensor of a layer that is used, or of the whole model, adds to it; "" where it is unknown or
// nothing.
std::string meaning(const std::string& name) {
  struct Sign {
    const char *part, *meaning;
  };
  static constexpr Sign kSigns[] = {{"q_norm", "a norm of the queries"},
                                    {"k_norm", "a norm of the keys"},
                                    {"q_layernorm", "a norm of the queries"},
                                    {"k_layernorm", "a norm of the keys"},
                                    {"feedforward_layernorm", "another norm"},
                                    {"sub_norm", "another norm"},
                                    {"attn_post_norm", "another norm"},
                                    {"post_attention_norm", "another norm"},
                                    {"post_ffw_norm", "another norm"},
                                    {".experts.", "a mixture of experts"},
                                    {"block_sparse_moe", "a mixture of experts"},
                                    {"shared_expert", "a mixture of experts"},
                                    {"_exps.", "a mixture of experts"},
                                    {"_shexp.", "a mixture of experts"},
                                    {"ffn_gate_inp", "a mixture of experts"},
                                    {".mlp.gate.", "a mixture of experts"},
                                    {".router.", "a mixture of experts"},
                                    {"sinks", "attention sinks"},
                                    {"rope_factors", "factors of the rotation"}};
  if (name.find("lora_") != std::string::npos) return "";
  for (const Sign& sign : kSigns)
    if (name.find(sign.part) != std::string::npos) return sign.meaning;
  return "";
}

// Why the tensor cannot be left out, or "".
std::string change(const Checkpoint& checkpoint, const SourceTensor& tensor,
                   const std::set<std::string>& used) {
  const std::string& name = tensor.name;
  if (name.ends_with(".bias") && used.contains(name.substr(0, name.size() - 5) + ".weight"))
    return is_zero(checkpoint, tensor) ? "" : "a bias (config.json: attention_bias, mlp_bias)";
  const std::string layer = layer_prefix(name);
  const bool inside =
      layer.empty() ? name.starts_with("rope_factors") : any_begins(used, layer) || layer.starts_with("blk.");
  return inside ? meaning(name) : "";
}

// As the file spells it.
std::string spelled(const SourceTensor& tensor) {
  return shown_name(tensor.stored_name.empty() ? tensor.name : tensor.stored_name);
}

void note_names(const std::vector<std::string>& names, const std::string& saying,
                std::vector<std::string>& notes) {
  if (names.empty()) return;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) shown.push_back(names[i]);
  const std::string more = names.size() > kListed ? str(" and ", names.size() - kListed, " more") : "";
  notes.push_back(
      str(names.size(), names.size() == 1 ? " tensor " : " tensors ", saying, ": ", join(shown, ", "), more));
}

// The arrays by which a quantizer replaces "X.weight", after X.
struct PackingSign {
  const char *array, *quantizer;
};
constexpr PackingSign kPackings[] = {
    {".qweight", "GPTQ or AWQ"},
    {".weight_packed", "compressed-tensors"},
    {".weight_scale", "FP8 or INT8 (compressed-tensors, ModelOpt)"},
    {".weight.absmax", "bitsandbytes"},
    {".weight.quant_state", "bitsandbytes"},
    {".SCB", "bitsandbytes"},
    {".W_q", "HQQ"},
    {".codebooks", "AQLM"},
    {".scales", "MLX"},
};

}  // namespace

Status check_extra(const Checkpoint& checkpoint, const std::set<std::string>& used,
                   const std::vector<std::string>& unused, bool ignore_extra,
                   std::vector<std::string>& notes) {
  if (ignore_extra) return Status::ok();
  std::vector<std::string> extra, later;
  const bool packed = !checkpoint.packer().empty();
  for (const SourceTensor& tensor : checkpoint.tensors()) {
    const std::string& name = tensor.name;
    if (used.contains(name) || ends_with_any(name, unused) || is_buffer(name)) continue;
    if (tensor.role == SourceTensor::Role::kPart || (packed && describes_packing(name))) continue;
    if (tensor.role == SourceTensor::Role::kView && is_another_form(name, used)) continue;
    if (std::string adds = change(checkpoint, tensor, used); !adds.empty())
      return Status::error(
          str(checkpoint.files()[static_cast<size_t>(tensor.file)], ": tensor ", spelled(tensor), " ",
              shown_shape(tensor.shape), " is extra: it adds ", adds,
              ", which a model of this type and config does not compute; check --model-type and config.json, "
              "or pass --ignore-extra to leave such tensors out"));
    (is_later_layer(name, used) ? later : extra).push_back(spelled(tensor));
  }
  note_names(extra, "of the checkpoint, which no parameter of this model needs, left out", notes);
  note_names(later, "of layers past num_hidden_layers of config.json left out", notes);
  return Status::ok();
}

Status check_packed(const Checkpoint& checkpoint, const std::set<std::string>& used) {
  const bool read = !checkpoint.packer().empty();
  for (const SourceTensor& tensor : checkpoint.tensors())
    for (const PackingSign& packing : kPackings) {
      if (tensor.role != SourceTensor::Role::kStored || (read && describes_packing(tensor.name))) continue;
      const size_t at = tensor.name.find(packing.array);
      if (at == std::string::npos || !used.contains(tensor.name.substr(0, at) + ".weight")) continue;
      return Status::error(
          str(checkpoint.files()[static_cast<size_t>(tensor.file)], ": tensor ", spelled(tensor),
              " shows that the weights are already quantized by ", packing.quantizer,
              ", expected plain weights (F16, BF16 or F32); convert the checkpoint it was made from, or a "
              "GGUF file of it"));
    }
  return Status::ok();
}

std::string missing_hint(const Checkpoint& checkpoint, const std::string& name) {
  if (name == "lm_head.weight")
    return "; if the output layer of this model is its embedding, config.json needs \"tie_word_embeddings\": "
           "true";
  for (const SourceTensor& tensor : checkpoint.tensors())
    if (meaning(tensor.name) == "a mixture of experts")
      return str("; ", spelled(tensor), " shows a mixture of experts, which is not built");
  return "";
}

}  // namespace mlc::weights
