// Vectors of floats and the loops over them, included once for each instruction set by kernels_<set>.cpp, which defines
// kVectorBytes, kTileRows, kTileVectors, Floats, splat and multiply_add. No include guard.

typedef int32_t Ints __attribute__((vector_size(kVectorBytes)));
constexpr int kLanes = kVectorBytes / 4;

inline Ints as_ints(Floats x) { return reinterpret_cast<Ints>(x); }
inline Floats as_floats(Ints x) { return reinterpret_cast<Floats>(x); }
inline Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline void store(float* p, Floats x) { std::memcpy(p, &x, sizeof(x)); }
// The first n lanes; the others are 0.
inline Floats load_some(const float* p, int64_t n) {
  Floats x = {};
  std::memcpy(&x, p, static_cast<size_t>(n) * 4);
  return x;
}
inline void store_some(float* p, Floats x, int64_t n) { std::memcpy(p, &x, static_cast<size_t>(n) * 4); }
inline Floats least(Floats a, Floats b) { return a < b ? a : b; }
inline Floats most(Floats a, Floats b) { return a > b ? a : b; }
inline Floats magnitude(Floats x) { return as_floats(as_ints(x) & INT32_MAX); }
// Ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bit for a fraction.
inline Floats rounded(Floats x) { return (x + splat(12582912.f)) - splat(12582912.f); }

inline void multiply_tile(int64_t k, const float* a, const float* b, float* c, int64_t stride, Store how) {
  Floats sums[kTileRows][kTileVectors] = {};
  for (int64_t i = 0; i < k; ++i, a += kTileRows, b += kTileVectors * kLanes) {
    Floats columns[kTileVectors];
    for (int v = 0; v < kTileVectors; ++v) columns[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
      const Floats row = splat(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < kTileVectors; ++v) sums[r][v] = multiply_add(row, columns[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      float* const to = c + r * stride + v * kLanes;
      const Floats sum = sums[r][v];
      store(to, how == Store::kSet ? sum : how == Store::kAdd ? load(to) + sum : load(to) - sum);
    }
}

template <int kWidth>
inline void pack_panel(const float* v, int64_t row_stride, int64_t column_stride, int64_t depth, float* to) {
  if (row_stride == 1) {
    for (int64_t d = 0; d < depth; ++d) std::memcpy(to + d * kWidth, v + d * column_stride, kWidth * sizeof(float));
    return;
  }
  constexpr int kStep = 16;  // columns at once: their part of the panel stays in the first cache
  int64_t d = 0;
  for (; d + kStep <= depth; d += kStep)
    for (int i = 0; i < kWidth; ++i) {
      const float* from = v + i * row_stride + d;
      for (int j = 0; j < kStep; ++j) to[(d + j) * kWidth + i] = from[j];
    }
  for (int i = 0; i < kWidth; ++i)
    for (int64_t rest = d; rest < depth; ++rest) to[rest * kWidth + i] = v[i * row_stride + rest];
}

template <int kWidth>
inline void pack_panels(const float* v, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t depth,
                        float* to) {
  for (int64_t begin = 0; begin < rows; begin += kWidth, to += depth * kWidth) {
    const int64_t count = std::min<int64_t>(kWidth, rows - begin);
    const float* from = v + begin * row_stride;
    if (count == kWidth) {
      pack_panel<kWidth>(from, row_stride, column_stride, depth, to);
      continue;
    }
    std::fill_n(to, depth * kWidth, 0.f);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t d = 0; d < depth; ++d) to[d * kWidth + i] = from[i * row_stride + d * column_stride];
  }
}

inline void pack(const float* v, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t depth, bool left,
                 float* to) {
  if (left)
    pack_panels<kTileRows>(v, row_stride, column_stride, rows, depth, to);
  else
    pack_panels<kTileVectors * kLanes>(v, row_stride, column_stride, rows, depth, to);
}

// e^x = 2^n * e^r with |r| <= log(2) / 2, log(2) in two parts, e^r by its Taylor terms up to r^7 / 7!: the next is below
// 2^-31.
inline Floats exponential_of(Floats x) {
  x = least(most(x, splat(-87.f)), splat(88.f));
  const Floats n = rounded(x * splat(1.44269504f));
  const Floats r = multiply_add(n, splat(2.12194440e-4f), multiply_add(n, splat(-0.693359375f), x));
  Floats sum = splat(1.f / 5040);
  for (float factor : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) sum = multiply_add(sum, r, splat(factor));
  return as_floats(as_ints(sum) + (__builtin_convertvector(n, Ints) << 23));
}

inline void exponential(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, exponential_of(load(x + i)));
  if (i < n) store_some(y + i, exponential_of(load_some(x + i, n - i)), n - i);
}

inline Floats combined(char sign, Floats a, Floats b) {
  switch (sign) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default: return a / b;
  }
}

inline void combine(char sign, const float* a, const float* b, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, combined(sign, load(a + i), load(b + i)));
  if (i < n) store_some(y + i, combined(sign, load_some(a + i, n - i), load_some(b + i, n - i)), n - i);
}

inline void add_squares(const float* x, float* sums, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(sums + i, multiply_add(load(x + i), load(x + i), load(sums + i)));
  for (; i < n; ++i) sums[i] += x[i] * x[i];
}

#include "weights/quantize/rows.inl"

constexpr QuantizeKernels kTable = {kLanes,      kTileRows, kTileVectors* kLanes, multiply_tile, pack,
                                    exponential, combine,   add_squares,          quantize_rows};
