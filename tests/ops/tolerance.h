// Every tolerance of the op tests, as a formula: which roundings an op makes, times the magnitude that they
// act on.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/dtype.h"

namespace mlc::testing {

inline constexpr double kEps = 0x1p-24;  // one rounding to f32, relative

// Rounding a result to `dtype`, relative.
inline double rounding(DType dtype) {
  if (dtype == DType::kF16) return 0x1p-11;
  if (dtype == DType::kBF16) return 0x1p-8;
  return kEps;
}

// A sum of `n` products in f32 in any order: n additions and n multiplications, each relative to the sum of
// magnitudes `absolute` (Higham, Accuracy and Stability of Numerical Algorithms, 3.1: gamma_n).
inline double dot_error(int64_t n, double absolute) { return (static_cast<double>(n) + 4) * kEps * absolute; }

// The same on a matrix unit: both factors are rounded to f16 first, after two more roundings of a dequantized
// weight to f32. A unit that cuts sums off instead of rounding them loses twice as much.
inline double matrix_error(int64_t n, double absolute) {
  return 2 * rounding(DType::kF16) * absolute + 2 * dot_error(n, absolute);
}

// An elementwise function of a value near `magnitude` made of a few operations, each of at most 4 ulp.
inline double elementwise_error(double magnitude) { return 16 * kEps * magnitude; }

// A norm over n columns: the sum of squares loses n roundings, halved by the square root; a few more follow.
inline double norm_error(int64_t n, double magnitude) {
  return (static_cast<double>(n) / 2 + 16) * kEps * magnitude;
}

// Attention over n keys of head_dim d: a score's error is that of its dot product and acts as exp'(s) on its
// weight, twice (numerator and sum); the weighted sum adds n roundings. `score` bounds |scale * q.k| term by
// term, `value` bounds |v|.
inline double attention_error(int64_t n, int64_t d, double score, double value) {
  return (2 * dot_error(d, score) + (2 * static_cast<double>(n) + 32) * kEps) * value;
}

// What 16-bit codes of q and of weights add to it over a cache of codes
// (kernel/lower/cpu/attention_coded.cpp): half a step of the largest element of q in each of d products, L =
// 32767 steps to it, which acts as a score's error does; and for each of at most 128 weights of a span half a
// step of the largest, of a sum of weights that is no less than the largest.
inline double coded_attention_error(int64_t n, double score, double value) {
  return (2 * score + static_cast<double>(n < 128 ? n : 128)) / (2 * 32767.0) * value;
}

}  // namespace mlc::testing
