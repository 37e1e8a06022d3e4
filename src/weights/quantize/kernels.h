// The inner loops of the calibrated quantizers, one table for each instruction set. Tables differ in the last
// bits of sums: some fuse multiply and add.
#pragma once

#include <cstdint>

namespace mlc::weights {

// A weight whose codes and scales are chosen: value = (code - zero) * scale, code in 0..2^bits - 1 (of 8 bits
// 0..254), a scale of either sign for each group of a row, rounded to what the file keeps.
struct RowsJob {
  int64_t rows = 0, columns = 0;
  int group = 32, bits = 4;
  bool bf16_scales = false;       // else f16
  const float* values = nullptr;  // [rows, columns], finite
  const float* importance =
      nullptr;  // [columns]: what an input's squared error weighs; nullptr: all the same
  // Error feedback (arXiv:2210.17323): second moments of the inputs, H [columns, columns], and the upper
  // triangular U with H^-1 = U^T U. nullptr: every group by itself.
  const float* moments = nullptr;
  const float* factor = nullptr;
  uint8_t* codes = nullptr;  // result: [rows, columns]
  float* scales = nullptr;   // result: [rows, ceil(columns / group)]
};

constexpr int kLargestGroup = 64;

enum class Store : uint8_t { kSet, kAdd, kSubtract };

struct QuantizeKernels {
  int lanes;                    // rows that are quantized side by side
  int tile_rows, tile_columns;  // of multiply_tile
  // c [tile_rows, tile_columns], whose rows lie `stride` apart, becomes, gains or loses the sum over i < k of
  // a[i][tile_rows] * b[i][tile_columns], in the order of i
  void (*multiply_tile)(int64_t k, const float* a, const float* b, float* c, int64_t stride, Store store);
  // Panels of tile_rows (`left`) or tile_columns rows of v [rows, depth], whose element (i, d) lies at
  // v[i * row_stride + d * column_stride], one of the strides 1: panel by panel, element (i, d) of one at
  // [d * width + i], zeros where there is no row.
  void (*pack)(const float* v, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t depth,
               bool left, float* to);
  void (*exponential)(const float* x, float* y, int64_t n);  // within 2 ulp; x = y allowed
  // y[i] = a[i] + b[i], or -, *, / as `sign` says
  void (*combine)(char sign, const float* a, const float* b, float* y, int64_t n);
  void (*add_squares)(const float* x, float* sums, int64_t n);  // sums[i] += x[i]^2
  // Chooses codes and scales for rows row .. row + lanes - 1, as far as there are.
  void (*quantize_rows)(const RowsJob& job, int64_t row);
};

// The best table this machine can run.
const QuantizeKernels& quantize_kernels();
const QuantizeKernels& generic_quantize_kernels();
// nullptr where the instruction set is not there.
const QuantizeKernels* avx2_quantize_kernels();
const QuantizeKernels* avx512_quantize_kernels();

}  // namespace mlc::weights
