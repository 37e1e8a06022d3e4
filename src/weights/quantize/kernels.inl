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

inline void multiply_tile(int64_t k, const float* a, const float* b, float* c) {
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
  for (int r = 0; r < kTileRows; ++r)
    for (int v = 0; v < kTileVectors; ++v) store(c + (r * kTileVectors + v) * kLanes, sums[r][v]);
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

constexpr QuantizeKernels kTable = {kLanes,      kTileRows, kTileVectors* kLanes, multiply_tile,
                                    exponential, combine,   add_squares,          quantize_rows};
