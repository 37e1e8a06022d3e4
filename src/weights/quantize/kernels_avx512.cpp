// The inner loops of the quantizers for x86-64 with AVX-512.
#include "weights/quantize/loops.h"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif

namespace mlc::weights {
namespace {

constexpr int kVectorBytes = 64, kTileRows = 14, kTileVectors = 2;
typedef float Floats __attribute__((vector_size(kVectorBytes)));
inline Floats splat(float x) { return (Floats)_mm512_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps(a, b, c); }

#include "weights/quantize/kernels.inl"

}  // namespace
}  // namespace mlc::weights

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

const mlc::weights::QuantizeKernels* mlc::weights::avx512_quantize_kernels() {
#ifdef __x86_64__
  const bool there = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return there ? &kTable : nullptr;
#else
  return nullptr;
#endif
}
