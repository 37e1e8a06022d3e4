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

// What biases of scores add to it: a slope of `bias` / distance and their sum with a score are off by a few
// roundings, which act as a score's error does.
inline double biased_attention_error(double score, double bias, double value) {
  return 2 * elementwise_error(score + bias) * value;
}

// What 16-bit codes of q and of weights add to it over a cache of codes
// (kernel/lower/cpu/attention_coded.cpp): half a step of the largest element of q in each of d products, L =
// 32767 steps to it, which acts as a score's error does; and for each of at most 128 weights of a span half a
// step of the largest, of a sum of weights that is no less than the largest.
inline double coded_attention_error(int64_t n, double score, double value) {
  return (2 * score + static_cast<double>(n < 128 ? n : 128)) / (2 * 32767.0) * value;
}

// An average of values up to 1 whose weights decay over t rows (wkv4): in each row the numerator and the
// denominator, which is at least 1, gain 8 roundings by powers of at most 4 ulp, their product and their sum,
// and the powers' exponents, sums up to `exponent` in magnitude, are rounded three times.
inline double recurrent_average_error(int64_t t, double exponent) {
  return 2 * (static_cast<double>(t) + 1) * (8 + 3 * exponent) * kEps;
}

// wkv5 over heads of n after t rows, all factors up to 1: the state grows by 1 a row, with two roundings of
// what it is then; the result is a sum of n products of a sum of two with it.
inline double recurrent_sum_error(int64_t t, int64_t n) {
  const double most = static_cast<double>(t) + 1, size = static_cast<double>(n);
  return size * 2 * most * most * kEps + dot_error(n, size * (most + 1)) + 2 * size * most * kEps;
}

}  // namespace mlc::testing
