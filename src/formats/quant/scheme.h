// Quantization schemes by MLC name (q4f16_1, ...) and the storage format of one weight under a scheme.
//
// Group quantization (mlc-facts 3.2): a [N, K] weight is cut along K into groups; each group has one scale;
// codes are packed least significant first into u32 words, 4 words per group; value = (code - zero_point) *
// scale.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"

namespace mlc {

// How the elements of one weight are stored.
struct WeightFormat {
  enum class Kind : uint8_t { kPlain, kGroup };
  Kind kind = Kind::kPlain;
  DType dtype = DType::kF32;  // kPlain: the elements; kGroup: the scales
  int bits = 0;               // kGroup: 3 or 4
  int group = 0;              // kGroup: elements along K that share a scale: 40 (3 bits) or 32 (4 bits)
  bool transposed = false;    // kGroup: KN layout, both arrays stored as the transpose of the NK form

  static WeightFormat plain(DType dtype) { return {Kind::kPlain, dtype, 0, 0, false}; }
  bool is_quantized() const { return kind == Kind::kGroup; }
  int zero_point() const { return (1 << (bits - 1)) - 1; }  // 7 for 4 bits, 3 for 3 bits
  int codes_per_word() const { return 32 / bits; }          // 8 or 10
  int64_t groups(int64_t k) const { return (k + group - 1) / group; }
  int64_t words(int64_t k) const { return 4 * groups(k); }  // u32 words of one row
  // "f16", "q4g32.f16", "q3g40.f16.kn"; the form used in IR text. parse() accepts exactly that.
  std::string text() const;
  static std::optional<WeightFormat> parse(std::string_view text);
  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;
};

// What a weight is, for deciding its format.
enum class WeightRole : uint8_t { kLinear, kEmbedding, kFinalLinear, kOther };

struct QuantScheme {
  std::string name;   // "q4f16_1"
  DType model_dtype;  // of unquantized parameters, as the files record it
  bool quantized = false;
  WeightFormat linear;     // of quantized linears
  bool embedding = false;  // embeddings are quantized (always in NK layout)
  bool final_linear = false;

  // The format of a weight. `quantizable` is false for routers' gates and modules marked so (mlc-facts 3.5).
  WeightFormat format_of(WeightRole role, bool quantizable) const;
};

// All schemes we read and write, sorted by name; a lookup error lists the nearest.
const std::vector<QuantScheme>& quant_schemes();
Result<QuantScheme> find_quant_scheme(const std::string& name);

}  // namespace mlc
