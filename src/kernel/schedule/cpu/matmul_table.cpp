// The table of int8 matmul tiles: best first; bench/kernels measures a row.
#include "kernel/schedule/cpu/matmul_table.h"

#include "base/check.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kKiB = 1024;

// A register tile of 2 x 6 has 12 accumulators, 2 weights and a broadcast; 12 sums fit beside it in 32
// registers.
constexpr MatmulSchedule kTable[] = {
    // 512-bit VNNI, 2 MB of L2: 61 % of the peak at K 2048 and 54 % at K 5632; blocks of 256 KB 55 and 49 %
    // (means of
    // five runs in turn, on a loaded machine).
    {Inner::kDot4U8, 64, 32, 2, 4, 2, 6, true, 24, 384, 1024 * kKiB, "measured on Sapphire Rapids"},
    // AVX-512 without VNNI: a product in one more register.
    {Inner::kDot2, 64, 32, 2, 4, 2, 6, true, 24, 384, 1024 * kKiB, "measured on Sapphire Rapids"},
    // AVX-VNNI: the starts of 2 x 6 would be spilled.
    {Inner::kDot4U8, 32, 16, 1, 4, 2, 5, false, 32, 96, 256 * kKiB, "guess"},
    // AVX2: a product takes the last of 16 registers.
    {Inner::kDot2, 32, 16, 1, 4, 2, 6, false, 32, 96, 256 * kKiB,
     "measured on Sapphire Rapids; from a prototype on Zen 3"},
    // NEON with usdot or sdot.
    {Inner::kDot4U8, 16, 32, 2, 4, 2, 6, true, 32, 96, 256 * kKiB, "guess"},
    {Inner::kDot4S8, 16, 32, 2, 4, 2, 6, true, 32, 96, 256 * kKiB, "guess"},
    // Any CPU: legalize widens the products.
    {Inner::kDot4U8, 16, 16, 1, 2, 1, 2, false, 32, 96, 256 * kKiB, "guess"},
};

bool has(const Target& t, Inner inner) {
  switch (inner) {
    case Inner::kDot4U8: return t.dot4_u8s8;
    case Inner::kDot4S8: return t.dot4_s8s8;
    case Inner::kDot2: return t.dot2_u8s8 && t.dot2_i16;
    case Inner::kWide2: break;  // no row's
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
