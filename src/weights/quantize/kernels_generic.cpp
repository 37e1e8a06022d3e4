// The inner loops of the quantizers for any machine, and the choice of a table.
#include "weights/quantize/loops.h"

namespace mlc::weights {
namespace {

constexpr int kVectorBytes = 16, kTileRows = 4, kTileVectors = 2;
typedef float Floats __attribute__((vector_size(kVectorBytes)));
inline Floats splat(float x) { return Floats{x, x, x, x}; }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }

#include "weights/quantize/kernels.inl"

}  // namespace

const QuantizeKernels& generic_quantize_kernels() { return kTable; }

const QuantizeKernels& quantize_kernels() {
  static const QuantizeKernels* best = [] {
    if (const QuantizeKernels* table = avx512_quantize_kernels()) return table;
    if (const QuantizeKernels* table = avx2_quantize_kernels()) return table;
    return &kTable;
  }();
  return *best;
}

}  // namespace mlc::weights
