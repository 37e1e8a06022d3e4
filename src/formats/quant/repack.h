// Codes from one format into another without rounding: a weight that somebody quantized keeps its values.
//
// From a code q with zero point z and scale s to MLC's code c about its constant m:
//   1. c = m + (q - z), scale s      where all q - z fit: -m .. top - m, such as zero points of m
//   2. c = m - (q - z), scale -s     where those do not: a zero point of m + 1, in the middle of all codes
// Each group of a row is one of the two by itself. FP4 counts in halves: q is twice its number, s half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/quant/reader.h"

namespace mlc {

// Whether `to`, with codes along K in u32 words, can hold every value of the weight. Reads its scales and
// zero points, not its codes.
bool can_repack(const WeightReader& from, const WeightFormat& to);

// Columns [begin, end) of a row, whole groups of `to` (the last may be cut): words and scales in NK form as
// the file has them, float32 scales as bfloat16. Only where can_repack() says so.
void repack_row(const WeightReader& from, int64_t row, int64_t begin, int64_t end, const WeightFormat& to,
                uint32_t* words, std::byte* scales);

// Whether AWQ's records of that group size can hold every value of the weight: by the format alone.
bool can_repack_awq(const WeightReader& from, int group);
// Rows [begin, end) of one of AWQ's records (formats/quant/format.h), as its bytes.
void repack_awq(const WeightReader& from, const FormatRecord& record, int group, int64_t begin, int64_t end,
                std::span<std::byte> bytes);

}  // namespace mlc
