// The inner loops of the quantizers for x86-64 with AVX2 and FMA.
#include "weights/quantize/loops.h"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace mlc::weights {
namespace {

constexpr int kVectorBytes = 32, kTileRows = 6, kTileVectors = 2;
typedef float Floats __attribute__((vector_size(kVectorBytes)));
inline Floats splat(float x) { return (Floats)_mm256_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm256_fmadd_ps(a, b, c); }

#include "weights/quantize/kernels.inl"

}  // namespace
}  // namespace mlc::weights

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

const mlc::weights::QuantizeKernels* mlc::weights::avx2_quantize_kernels() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kTable : nullptr;
#else
  return nullptr;
#endif
}
