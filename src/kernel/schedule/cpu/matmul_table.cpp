// The table of int8 matmul tiles: best first; bench/kernels measures a row.
#include "kernel/schedule/cpu/matmul_table.h"

#include "base/check.h"

namespace mlc::kernel {
namespace {

constexpr MatmulSchedule kTable[] = {
    // 512-bit VNNI: 12 sums, 12 accumulators, 2 weights, a broadcast.
    {Inner::kDot4U8, 64, 32, 2, 4, 2, 6, true, 24, 96, 256 << 10, "guess"},
    // AVX-512 without VNNI: the same.
    {Inner::kDot2, 64, 32, 2, 4, 2, 6, true, 24, 96, 256 << 10, "guess"},
    // AVX2: 12 accumulators, 2 weights, a broadcast, a product.
    {Inner::kDot2, 32, 16, 1, 4, 2, 6, false, 32, 96, 256 << 10, "measured on Zen 3 by the prototype"},
    // NEON with usdot or sdot.
    {Inner::kDot4U8, 16, 32, 2, 4, 2, 6, true, 32, 96, 256 << 10, "guess"},
    {Inner::kDot4S8, 16, 32, 2, 4, 2, 6, true, 32, 96, 256 << 10, "guess"},
    // Any CPU: legalize widens the products.
    {Inner::kDot4U8, 16, 16, 1, 2, 1, 2, false, 32, 96, 256 << 10, "guess"},
};

bool has(const Target& t, Inner inner) {
  switch (inner) {
    case Inner::kDot4U8: return t.dot4_u8s8;
    case Inner::kDot4S8: return t.dot4_s8s8;
    case Inner::kDot2: return t.dot2_u8s8 && t.dot2_i16;
  }
  internal_error("matmul_schedule: unknown inner product");
}

}  // namespace

const MatmulSchedule& matmul_schedule(const Target& target) {
  for (const MatmulSchedule& row : kTable)
    if (has(target, row.inner) && target.vector_bytes >= row.vector_bytes &&
        target.vector_registers >= row.vector_registers)
      return row;
  return kTable[std::size(kTable) - 1];
}

}  // namespace mlc::kernel
