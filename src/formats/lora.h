// PEFT adapters: low-rank changes of linears, W + scale * B A (LoRA, arXiv:2106.09685).
//
// A folder:
//   1. adapter_config.json: r, lora_alpha, rank_pattern and alpha_pattern (of modules by name or end of it),
//      use_rslora, fan_in_fan_out
//   2. adapter_model.safetensors, or adapter_model.bin: base_model.model.MODULE.lora_A.weight [r, in] and
//      base_model.model.MODULE.lora_B.weight [out, r], of float dtypes
// scale is lora_alpha / r, of rsLoRA (arXiv:2312.03732) lora_alpha / sqrt(r).
//
// Refused, each in one sentence: what changes a model in another way (DoRA, biases, modules_to_save,
// replicated layers, embeddings, bases that are decomposed: PiSSA, OLoRA, CorDA, LoftQ), a matrix without its
// other one, ranks that contradict the config.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace mlc {

struct LoraModule {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  int64_t rank = 0, in = 0, out = 0;
  double scale = 1;
  std::vector<float> a, b;  // [rank, in], [out, rank]
};

struct LoraAdapter {
  std::string folder;
  std::string base;                 // base_model_name_or_path, or ""
  std::vector<std::string> files;   // that it was read from
  bool fan_in_fan_out = false;      // the base's weights are [in, out]
  std::vector<LoraModule> modules;  // by name
  int64_t rank() const;             // the largest
  // "; it was made for X": the end of sentences on what does not fit, or "".
  std::string made_for() const;
};

// Reads all of it, as f32. Errors start with the file.
Result<LoraAdapter> read_lora_adapter(const std::string& folder);

// Whether two names are of one module: equal, or one is the end of the other, which has the name of a wrapper
// before it ("transformer.h.0.mlp" and "h.0.mlp").
bool same_module(std::string_view a, std::string_view b);

}  // namespace mlc
