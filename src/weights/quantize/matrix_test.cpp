// Products of sizes that fill no tile, against sums in double; the same bits by either way.
#include "weights/quantize/matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace mlc::weights {
namespace {

std::vector<float> draw(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> between(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = between(random);
  return values;
}

// a [m, k] times the transpose of b [n, k].
std::vector<double> exact(int64_t m, int64_t n, int64_t k, const float* a, const float* b) {
  std::vector<double> c(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t d = 0; d < k; ++d) c[size_t(i * n + j)] += double(a[i * k + d]) * b[j * k + d];
  return c;
}

struct Size {
  int64_t m, n, k;
};
const Size kSizes[] = {{1, 1, 1}, {13, 31, 5}, {14, 32, 256}, {15, 33, 257}, {150, 70, 600}, {300, 40, 2100}};

TEST(Matrix, ProductsOfAnySize) {
  for (const auto& [m, n, k] : kSizes) {
    SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k);
    const std::vector<float> a = draw(m * k, 1), b = draw(n * k, 2), start = draw(m * n, 3);
    const std::vector<double> wanted = exact(m, n, k, a.data(), b.data());
    // f32 sums in order: the error grows as the square root of k, terms are below 1
    const double bound = 4 * std::sqrt(double(k)) * std::sqrt(double(k)) * std::ldexp(1, -24);
    for (const Store store : {Store::kSet, Store::kAdd, Store::kSubtract}) {
      std::vector<float> c = start;
      multiply(2, m, n, k, {a.data(), k}, MatrixView{b.data(), k}.transposed(), c.data(), n, store);
      for (size_t i = 0; i < c.size(); ++i) {
        const double was = store == Store::kSet ? 0 : start[i];
        EXPECT_NEAR(c[i], store == Store::kSubtract ? was - wanted[i] : was + wanted[i], bound) << i;
      }
    }
    std::vector<float> whole(start.size()), parts(start.size(), NAN);
    multiply(1, m, n, k, {a.data(), k}, MatrixView{b.data(), k}.transposed(), whole.data(), n);
    multiply_by_rows(3, m, n, k, a.data(), b.data(),
                     [&](int64_t begin, int64_t count, const float* products) {
                       std::copy_n(products, count * n, parts.begin() + begin * n);
                     });
    EXPECT_EQ(parts, whole);
  }
}

// Each table packs and multiplies by its own tile.
TEST(Matrix, TilesOfEveryInstructionSet) {
  for (const QuantizeKernels* kernels :
       {&generic_quantize_kernels(), avx2_quantize_kernels(), avx512_quantize_kernels()}) {
    if (!kernels) continue;
    const int64_t m = kernels->tile_rows, n = kernels->tile_columns, k = 37;
    const std::vector<float> a = draw(m * k, 1), b = draw(n * k, 2);
    std::vector<float> left(a.size()), right(b.size()), turned(b.size()), again(b.size()),
        c(static_cast<size_t>(m * n));
    kernels->pack(a.data(), k, 1, m, k, true, left.data());
    kernels->pack(b.data(), k, 1, n, k, false, right.data());
    kernels->multiply_tile(k, left.data(), right.data(), c.data(), n, Store::kSet);
    const std::vector<double> wanted = exact(m, n, k, a.data(), b.data());
    for (size_t i = 0; i < c.size(); ++i)
      EXPECT_NEAR(c[i], wanted[i], 1e-5) << m << " x " << n << " at " << i;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t d = 0; d < k; ++d) turned[size_t(d * n + j)] = b[size_t(j * k + d)];
    kernels->pack(turned.data(), 1, n, n, k, false, again.data());
    EXPECT_EQ(again, right) << "from columns";
    // A last row that is not there is zeros.
    kernels->pack(a.data(), k, 1, m - 1, k, true, left.data());
    for (int64_t d = 0; d < k; ++d) EXPECT_EQ(left[size_t(d * m + m - 1)], 0);
  }
}

}  // namespace
}  // namespace mlc::weights
