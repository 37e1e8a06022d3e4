// Products of float matrices on several threads, and the factor that error feedback needs. Results do not
// depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "weights/quantize/kernels.h"

namespace mlc::weights {

// Element (i, j) lies at data[i * row_stride + j * column_stride].
struct MatrixView {
  const float* data = nullptr;
  int64_t row_stride = 0, column_stride = 1;

  MatrixView transposed() const { return {data, column_stride, row_stride}; }
};

// c [m, n], whose rows lie `stride` apart, becomes, gains or loses a [m, k] times b [k, n]. Sums over k are
// in order, in f32. `lower`: only tiles that touch the lower triangle are computed.
void multiply(int threads, int64_t m, int64_t n, int64_t k, MatrixView a, MatrixView b, float* c,
              int64_t stride, Store store = Store::kSet, bool lower = false);

// The product of a [m, k] and the transpose of b [n, k], both with rows in one piece, some rows at a time:
// `use` gets rows `begin` .. of it, [count, n], while they are in memory. Sums are those of multiply().
void multiply_by_rows(int threads, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                      const std::function<void(int64_t begin, int64_t count, const float* products)>& use);

// c [n, n] += x^T x of x [rows, n].
void add_moments(int threads, int64_t rows, int64_t n, const float* x, float* c);

// What error feedback needs of the second moments of a linear's inputs.
struct Feedback {
  std::vector<float>
      moments;                // H [n, n], off its diagonal halved, with 1 % of the mean added to the diagonal
  std::vector<float> factor;  // U [n, n], upper triangular: H^-1 = U^T U
  std::vector<float> importance;  // the diagonal of H
};

// Of the mean of x x^T. Off-diagonals are halved because at 4 bits inputs carry errors of their own, which
// follow them; it also keeps H far from singular. False where a moment is not finite.
bool make_feedback(int threads, int64_t n, std::vector<float> moments, Feedback& feedback);

}  // namespace mlc::weights
