// The inner loops for any machine, and the choice among the tables.
#include "formats/quant/kernels.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors cross no call between files

namespace mlc {
namespace {

#include "formats/quant/kernels.inl"

}  // namespace

const QuantKernels& generic_quant_kernels() { return kKernels; }

const QuantKernels& quant_kernels() {
  static const QuantKernels& best = avx2_quant_kernels() ? *avx2_quant_kernels() : kKernels;
  return best;
}

}  // namespace mlc
