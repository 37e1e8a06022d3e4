// How a checkpoint says that its weights are quantized: `quantization_config` (or `quantization`,
// `compression_config`) of its config.json. What each method stores beside a module X, and what we make of
// it, is in docs/weight-formats.md; the bytes are read by formats/quant/reader.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace mlc {

struct Packing {
  enum class Method : uint8_t { kAwq, kGptq, kCompressed, kFp8, kMxFp4, kBitsandbytes, kMlx };
  Method method = Method::kAwq;
  std::string name;  // for sentences: "gptq"
  // Of GPTQ, AWQ, compressed-tensors' packed codes and MLX: what the config says of all modules. group 0: one
  // for all inputs.
  int bits = 0, group = 0;
  bool symmetric = false;            // compressed-tensors: no zero points
  bool act_order = false;            // GPTQ: inputs in an order of their own, so a module needs its g_idx
  int zero_plus = 1;                 // GPTQ: what is added to stored zero points
  int64_t block_n = 0, block_k = 0;  // fp8: of weight_block_size; 0: none
  Json modules = Json::object();     // MLX: {module: {bits, group_size}} where one differs

  // The scheme of ours that takes codes and zero points as they are ("q4f16_autoawq"), "" where none does.
  std::string kept_by() const;
};

// nullopt: plain weights. Errors: a method, or settings of one, that we do not read, with what we do.
// `what` names the file.
Result<std::optional<Packing>> parse_packing(const Json& config, const std::string& what);

}  // namespace mlc
