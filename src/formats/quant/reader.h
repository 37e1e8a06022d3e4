// Reads any built format back into floats, one element after the other: what repack kernels and loads are
// held to.
#pragma once

#include <cstddef>
#include <span>

#include "formats/quant/format.h"

namespace mlc {

// Values of a weight [n, k] in C order, each rounded once to f32: code, scale and zero point as they are
// stored. `records`: the bytes of format_records(), in their order; float32 scales as 4 bytes. One weight, so
// of stacked ones a part. Plain formats: floats of their dtype.
void read_weight(const WeightFormat& format, int64_t n, int64_t k,
                 std::span<const std::span<const std::byte>> records, std::span<float> values);

// Where a code lies: which word of its record, and from which bit on.
struct CodePlace {
  int64_t word = 0;
  int shift = 0;
};
CodePlace code_place(const WeightFormat& format, int64_t n, int64_t k, int64_t row, int64_t column);

// The bit from which on the code of row `row` of a word along N lies.
int lane_shift(const WeightFormat& format, int64_t row);

}  // namespace mlc
