// Reads any described format back into floats, one element after the other: what repack kernels and loads are
// held to, and how weights that others quantized are read.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "formats/quant/format.h"

namespace mlc {

// Values of a weight [n, k] in C order, each rounded once to f32: code, scale and zero point as they are
// stored. `records`: the bytes of format_records(), in their order; float32 scales as 4 bytes. One weight, so
// of stacked ones a part. Plain formats: floats of their dtype.
void read_weight(const WeightFormat& format, int64_t n, int64_t k,
                 std::span<const std::span<const std::byte>> records, std::span<float> values);

// The same row by row, and what the values are made of. A view: records outlive it. Threads may share one.
class WeightReader {
 public:
  using Bytes = std::span<const std::byte>;
  // Internal error for formats in blocks, and for records of other sizes than format_records() says; a record
  // more is an f32 that is added to each scale (bitsandbytes' offset of nested scales). `format` is
  // quantized; an index names groups that exist.
  WeightReader(const WeightFormat& format, int64_t n, int64_t k, std::span<const Bytes> records);

  void read_row(int64_t row, std::span<float> values) const;

  const WeightFormat& format() const { return format_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  // Bits of the codes of a row from column `begin` on as they are stored.
  void codes(int64_t row, int64_t begin, std::span<uint8_t> codes) const;
  int64_t groups() const { return groups_; }
  int64_t group_of(int64_t column) const;
  float scale(int64_t row, int64_t group) const;
  // What is subtracted from codes or, where the format says so, added to their products.
  float zero(int64_t row, int64_t group) const;
  // The number that a code stands for before zero point and scale; f32 tables as they are stored.
  float number(uint8_t code) const { return numbers_[code]; }

 private:
  WeightFormat format_;
  int64_t n_, k_, groups_;
  Bytes codes_, scales_, zeros_, index_, scale_table_, scale_scales_, scale_offset_;
  std::vector<float> numbers_;  // of all codes
};

// The bit from which on the code of row `row` of a word along N lies.
int lane_shift(const WeightFormat& format, int64_t row);

}  // namespace mlc
