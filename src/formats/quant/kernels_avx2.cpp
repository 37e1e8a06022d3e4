// The inner loops for x86-64 with AVX2.
#include "formats/quant/kernels.h"

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace mlc {
namespace {

#include "formats/quant/kernels.inl"

}  // namespace
}  // namespace mlc

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace mlc {
const QuantKernels* avx2_quant_kernels() { return __builtin_cpu_supports("avx2") ? &kKernels : nullptr; }
}  // namespace mlc
#else
namespace mlc {
const QuantKernels* avx2_quant_kernels() { return nullptr; }
}  // namespace mlc
#endif
