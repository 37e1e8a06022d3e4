// Quantization schemes by MLC name (q4f16_1, ...): the format of each weight of a model.
#pragma once

#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "formats/quant/format.h"

namespace mlc {

// What a weight is, for deciding its format.
enum class WeightRole : uint8_t { kLinear, kEmbedding, kFinalLinear, kOther };

struct QuantScheme {
  std::string name;   // "q4f16_1"
  DType model_dtype;  // of unquantized parameters, as the files record it
  bool quantized = false;
  WeightFormat linear;     // of quantized linears
  bool embedding = false;  // embeddings are quantized (always stored as rows)
  bool final_linear = false;

  // The format of a weight. `quantizable` is false for routers' gates and modules marked so (mlc-facts 3.5).
  WeightFormat format_of(WeightRole role, bool quantizable) const;
};

// All schemes we read and write, sorted by name; a lookup error lists the nearest. "q4f16_awq" finds
// q4f16_autoawq.
const std::vector<QuantScheme>& quant_schemes();
Result<QuantScheme> find_quant_scheme(const std::string& name);

}  // namespace mlc
