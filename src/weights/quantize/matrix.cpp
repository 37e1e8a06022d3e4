// Products by packed tiles, a blocked Cholesky factor and the inverse of it.
#include "weights/quantize/matrix.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"

namespace mlc::weights {
namespace {

constexpr int64_t kDepth =
    256;  // of a packed panel: 256 x 14 floats of a, 256 x 32 of b fit the first caches
constexpr int64_t kPackedRows = 2048;  // of b at once
constexpr int64_t kJobRows = 128, kJobColumns = 1024;
constexpr int64_t kBlock = 64;            // of the Cholesky factor
constexpr int64_t kFewTerms = 4'000'000;  // products that are done before another thread has begun

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// A tile of which only `rows` and `columns` are there.
void multiply_part(int64_t k, const float* a, const float* b, int64_t rows, int64_t columns, float* c,
                   int64_t stride, Store store) {
  const QuantizeKernels& kernels = quantize_kernels();
  if (rows == kernels.tile_rows && columns == kernels.tile_columns)
    return kernels.multiply_tile(k, a, b, c, stride, store);
  static thread_local std::vector<float> memory;
  memory.resize(static_cast<size_t>(kernels.tile_rows * kernels.tile_columns));
  kernels.multiply_tile(k, a, b, memory.data(), kernels.tile_columns, Store::kSet);
  const float* tile = memory.data();
  for (int64_t i = 0; i < rows; ++i, tile += kernels.tile_columns, c += stride)
    for (int64_t j = 0; j < columns; ++j)
      c[j] = store == Store::kSet ? tile[j] : store == Store::kAdd ? c[j] + tile[j] : c[j] - tile[j];
}

struct Product {
  int64_t m, n;
  MatrixView a;
  float* c;
  int64_t stride;
  Store store;
  bool lower;
};

// Rows [row, row + rows) and columns [column, column + columns) of c, over `depth` of k, whose packed b is
// given.
void multiply_job(const Product& p, int64_t row, int64_t column, int64_t first, int64_t depth,
                  const float* packed_b, Store store) {
  const QuantizeKernels& kernels = quantize_kernels();
  const int64_t height = kernels.tile_rows, width = kernels.tile_columns;
  const int64_t rows = std::min(kJobRows, p.m - row), columns = std::min(kJobColumns, p.n - column);
  static thread_local std::vector<float> packed_a;
  packed_a.resize(static_cast<size_t>(round_up(rows, height) * depth));
  kernels.pack(p.a.data + row * p.a.row_stride + first * p.a.column_stride, p.a.row_stride, p.a.column_stride,
               rows, depth, true, packed_a.data());
  for (int64_t j = 0; j < columns; j += width)
    for (int64_t i = 0; i < rows; i += height) {
      if (p.lower && row + std::min(i + height, rows) <= column + j) continue;
      multiply_part(depth, packed_a.data() + i * depth, packed_b + (column + j) * depth,
                    std::min(height, rows - i), std::min(width, columns - j),
                    p.c + (row + i) * p.stride + column + j, p.stride, store);
    }
}

// Cholesky factor L of the lower triangle of a block [n, n] in place, and the inverse of L [n, n].
bool factor_block(float* a, int64_t n, int64_t stride, float* inverse) {
  std::vector<double> l(static_cast<size_t>(n * n)), x(l.size());
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = j; i < n; ++i) {
      double sum = a[i * stride + j];
      for (int64_t k = 0; k < j; ++k) sum -= l[size_t(i * n + k)] * l[size_t(j * n + k)];
      if (i == j && !(sum > 0)) return false;
      l[size_t(i * n + j)] = i == j ? std::sqrt(sum) : sum / l[size_t(j * n + j)];
    }
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = j; i < n; ++i) {
      double sum = i == j ? 1 : 0;
      for (int64_t k = j; k < i; ++k) sum -= l[size_t(i * n + k)] * x[size_t(k * n + j)];
      x[size_t(i * n + j)] = sum / l[size_t(i * n + i)];
    }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      a[i * stride + j] = static_cast<float>(l[size_t(i * n + j)]);
      inverse[i * n + j] = static_cast<float>(x[size_t(i * n + j)]);
    }
  return true;
}

// The lower triangle of a [n, n] becomes its Cholesky factor; inverses of its diagonal blocks.
bool factor_lower(int threads, int64_t n, float* a, std::vector<std::vector<float>>& inverses) {
  std::vector<float> panel;
  for (int64_t j = 0; j < n; j += kBlock) {
    const int64_t width = std::min(kBlock, n - j), rest = n - j - width;
    inverses.emplace_back(static_cast<size_t>(width * width));
    float* diagonal = a + j * n + j;
    if (!factor_block(diagonal, width, n, inverses.back().data())) return false;
    if (rest == 0) break;
    float* below = diagonal + width * n;
    panel.resize(static_cast<size_t>(rest * width));
    multiply(threads, rest, width, width, {below, n}, MatrixView{inverses.back().data(), width}.transposed(),
             panel.data(), width);
    for (int64_t i = 0; i < rest; ++i) std::copy_n(panel.data() + i * width, width, below + i * n);
    multiply(threads, rest, rest, width, {panel.data(), width}, MatrixView{panel.data(), width}.transposed(),
             below + width, n, Store::kSubtract, true);
  }
  return true;
}

// The inverse [n, n] of a lower triangular l, row of blocks by row of blocks.
std::vector<float> invert_lower(int threads, int64_t n, const float* l,
                                const std::vector<std::vector<float>>& inverses) {
  std::vector<float> x(static_cast<size_t>(n * n)), sum(static_cast<size_t>(kBlock * n));
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t height = std::min(kBlock, n - i);
    const std::vector<float>& own = inverses[static_cast<size_t>(i / kBlock)];
    if (i > 0) {
      multiply(threads, height, i, i, {l + i * n, n}, {x.data(), n}, sum.data(), i);
      multiply(threads, height, i, height, {own.data(), height}, {sum.data(), i}, x.data() + i * n, n,
               Store::kSubtract);
    }
    for (int64_t r = 0; r < height; ++r)
      std::copy_n(own.data() + r * height, height, x.data() + (i + r) * n + i);
  }
  return x;
}

}  // namespace

void multiply(int threads, int64_t m, int64_t n, int64_t k, MatrixView a, MatrixView b, float* c,
              int64_t stride, Store store, bool lower) {
  const int64_t width = quantize_kernels().tile_columns, panels = (n + width - 1) / width;
  if (m * n * k <= kFewTerms) threads = 1;
  const Product product{m, n, a, c, stride, store, lower};
  static thread_local std::vector<float> kept;  // a call's own: parallel_for() may run others of this thread
  std::vector<float> packed = std::move(kept);
  const int64_t job_rows = (m + kJobRows - 1) / kJobRows, job_columns = (n + kJobColumns - 1) / kJobColumns;
  for (int64_t first = 0; first < k; first += kPackedRows) {
    const int64_t rows = std::min(kPackedRows, k - first), width_all = panels * width;
    packed.resize(std::max(packed.size(), static_cast<size_t>(rows * width_all)));
    const int64_t depths = (rows + kDepth - 1) / kDepth;
    auto depth_of = [&](int64_t d) { return std::min(kDepth, rows - d * kDepth); };
    parallel_for(threads, depths * panels, [&](int64_t i) {
      const int64_t d = i / panels, j = i % panels * width;
      const float* from = b.data + (first + d * kDepth) * b.row_stride + j * b.column_stride;
      quantize_kernels().pack(from, b.column_stride, b.row_stride, std::min(width, n - j), depth_of(d), false,
                              packed.data() + d * kDepth * width_all + j * depth_of(d));
    });
    parallel_for(threads, job_rows * job_columns, [&](int64_t i) {
      const int64_t row = i % job_rows * kJobRows, column = i / job_rows * kJobColumns;
      if (lower && std::min(row + kJobRows, m) <= column) return;
      for (int64_t d = 0; d < depths; ++d)
        multiply_job(product, row, column, first + d * kDepth, depth_of(d),
                     packed.data() + d * kDepth * width_all,
                     first + d > 0 && store == Store::kSet ? Store::kAdd : store);
    });
  }
  kept = std::move(packed);
}

void multiply_by_rows(int threads, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                      const std::function<void(int64_t begin, int64_t count, const float* products)>& use) {
  constexpr int64_t kMostRows = 128;
  const QuantizeKernels& kernels = quantize_kernels();
  const int64_t height = kernels.tile_rows, width = kernels.tile_columns, panels = (n + width - 1) / width;
  const int64_t depths = (k + kDepth - 1) / kDepth, wide = panels * width;
  auto depth_of = [&](int64_t d) { return std::min(kDepth, k - d * kDepth); };
  static thread_local std::vector<float> kept;
  std::vector<float> packed = std::move(kept);
  packed.resize(std::max(packed.size(), static_cast<size_t>(k * wide)));
  parallel_for(threads, depths * panels, [&](int64_t i) {
    const int64_t d = i / panels, j = i % panels * width;
    kernels.pack(b + j * k + d * kDepth, k, 1, std::min(width, n - j), depth_of(d), false,
                 packed.data() + d * kDepth * wide + j * depth_of(d));
  });
  const int64_t share = (m + 2 * threads - 1) / (2 * threads);
  const int64_t block = std::min(round_up(share, height), kMostRows / height * height);
  parallel_for(threads, (m + block - 1) / block, [&](int64_t job) {
    const int64_t begin = job * block, count = std::min(block, m - begin);
    static thread_local std::vector<float> left, products;
    left.resize(static_cast<size_t>(round_up(count, height) * kDepth));
    products.resize(static_cast<size_t>(count * n));
    for (int64_t d = 0; d < depths; ++d) {
      const int64_t depth = depth_of(d);
      kernels.pack(a + begin * k + d * kDepth, k, 1, count, depth, true, left.data());
      for (int64_t j = 0; j < n; j += width)
        for (int64_t i = 0; i < count; i += height)
          multiply_part(depth, left.data() + i * depth, packed.data() + d * kDepth * wide + j * depth,
                        std::min(height, count - i), std::min(width, n - j), products.data() + i * n + j, n,
                        d > 0 ? Store::kAdd : Store::kSet);
    }
    use(begin, count, products.data());
  });
  kept = std::move(packed);
}

void add_moments(int threads, int64_t rows, int64_t n, const float* x, float* c) {
  multiply(threads, n, n, rows, MatrixView{x, n}.transposed(), {x, n}, c, n, Store::kAdd, true);
  parallel_for(threads, n, [&](int64_t i) {
    for (int64_t j = i + 1; j < n; ++j) c[i * n + j] = c[j * n + i];
  });
}

bool make_feedback(int threads, int64_t n, std::vector<float> moments, Feedback& feedback) {
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += moments[size_t(i * n + i)] / static_cast<double>(n);
  if (!std::ranges::all_of(moments, [](float v) { return std::isfinite(v); })) return false;
  std::vector<float> root(static_cast<size_t>(n)), scaled(moments.size());
  feedback.importance.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      if (j != i) moments[size_t(i * n + j)] *= 0.5f;
    float& own = moments[size_t(i * n + i)];
    own = static_cast<float>(own + 0.01 * mean + 1e-12);
    feedback.importance[size_t(i)] = own;
    root[size_t(i)] = 1 / std::sqrt(own);
  }
  // U = R^-1 with H = R R^T, R upper triangular: with the order of rows and columns turned round, R is a
  // Cholesky factor. Scaled to a diagonal of ones, H has eigenvalues of 1/2 or more: f32 is enough.
  parallel_for(threads, n, [&](int64_t i) {
    for (int64_t j = 0; j < n; ++j)
      scaled[size_t((n - 1 - i) * n + n - 1 - j)] =
          moments[size_t(i * n + j)] * root[size_t(i)] * root[size_t(j)];
  });
  std::vector<std::vector<float>> inverses;
  if (!factor_lower(threads, n, scaled.data(), inverses)) return false;
  const std::vector<float> inverse = invert_lower(threads, n, scaled.data(), inverses);
  parallel_for(threads, n, [&](int64_t i) {
    for (int64_t j = 0; j < n; ++j)
      scaled[size_t(i * n + j)] = j < i ? 0 : inverse[size_t((n - 1 - i) * n + n - 1 - j)] * root[size_t(j)];
  });
  feedback.factor = std::move(scaled);
  feedback.moments = std::move(moments);
  return true;
}

}  // namespace mlc::weights
