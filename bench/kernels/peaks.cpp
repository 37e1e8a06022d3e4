// The loops in assembly, so that no compiler can spill, reorder or drop anything. Registers 14 and 15 hold
// the factors.
#include "kernels/peaks.h"

namespace mlc::bench {
namespace {

#if defined(__x86_64__)

// What ldtilecfg reads.
struct TileShapes {
  uint8_t palette = 1, reserved[15] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

#define CLOBBERS                                                                                          \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
      "xmm12", "xmm13", "xmm14", "xmm15"
#define LOOP(body, end) asm volatile("1:\n" body "dec %0\n jnz 1b\n" end : "+r"(n) : : CLOBBERS)

// A product into a temporary register, added to one of 8 accumulators; 6 temporaries take turns.
#define PAIR(acc, tmp, r) \
  "vpmaddubsw %%" r "15, %%" r "14, %%" r #tmp "\n vpaddw %%" r #tmp ", %%" r #acc ", %%" r #acc "\n"
#define EIGHT_PAIRS(r) \
  PAIR(0, 8, r)        \
  PAIR(1, 9, r) PAIR(2, 10, r) PAIR(3, 11, r) PAIR(4, 12, r) PAIR(5, 13, r) PAIR(6, 8, r) PAIR(7, 9, r)
void pairs_256(int64_t n) { LOOP(EIGHT_PAIRS("ymm"), "vzeroupper\n"); }
void pairs_512(int64_t n) { LOOP(EIGHT_PAIRS("zmm"), "vzeroupper\n"); }

// 12 accumulators: a latency of 5 at two a cycle needs 10.
#define DOT_512(acc) "vpdpbusd %%zmm15, %%zmm14, %%zmm" #acc "\n"
#define DOT_256(acc) "%{vex%} vpdpbusd %%ymm15, %%ymm14, %%ymm" #acc "\n"
#define TWELVE_DOTS(r) r(0) r(1) r(2) r(3) r(4) r(5) r(6) r(7) r(8) r(9) r(10) r(11)
void dots_512(int64_t n) { LOOP(TWELVE_DOTS(DOT_512), "vzeroupper\n"); }
void dots_256(int64_t n) { LOOP(TWELVE_DOTS(DOT_256), "vzeroupper\n"); }

#define WORDS(acc, tmp) \
  "movdqa %%xmm15, %%xmm" #tmp "\n pmaddwd %%xmm14, %%xmm" #tmp "\n paddd %%xmm" #tmp ", %%xmm" #acc "\n"
void words_128(int64_t n) {
  LOOP(WORDS(0, 8) WORDS(1, 9) WORDS(2, 10) WORDS(3, 11) WORDS(4, 12) WORDS(5, 13) WORDS(6, 8) WORDS(7, 9),
       "");
}

// Four sums of tiles that share two factors of each kind, as the matmul has them; 16 rows of 64 bytes each.
void tiles_bf16(int64_t n) {
  alignas(64) static constexpr TileShapes kShapes;
  asm volatile("ldtilecfg %0\n" : : "m"(kShapes));
  LOOP(
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n",
      "tilerelease\n");
}

const PeakLoop kTiles{"tdpbf16ps", 4 * 16 * 16 * 32, tiles_bf16};
const PeakLoop kDots512{"vpdpbusd zmm", 12 * 64, dots_512};
const PeakLoop kDots256{"vpdpbusd ymm", 12 * 32, dots_256};
const PeakLoop kPairs512{"vpmaddubsw+vpaddw zmm", 8 * 64, pairs_512};
const PeakLoop kPairs256{"vpmaddubsw+vpaddw ymm", 8 * 32, pairs_256};
const PeakLoop kWords128{"pmaddwd+paddd xmm", 8 * 8, words_128};

#endif

}  // namespace

const PeakLoop* peak_loop(const Target& target) {
#if defined(__x86_64__)
  if (target.matrix_unit.rows) return &kTiles;
  if (target.vector_bytes == 64) return target.dot4_u8s8 ? &kDots512 : &kPairs512;
  if (target.vector_bytes == 32) return target.dot4_u8s8 ? &kDots256 : &kPairs256;
  return &kWords128;
#else
  return target.vector_bytes < 0 ? nullptr : nullptr;
#endif
}

}  // namespace mlc::bench
