// Tiles of the matmuls of weights in tile layouts (kernel/lower/cpu/matmul_q8*.cpp, matmul_matrix.cpp) by
// what a CPU can do: data, each row with its source.
#pragma once

#include <cstdint>

#include "base/target/target.h"

namespace mlc::kernel {

// How products of weight codes and activation codes are summed over a group: 32 of 4 bits, 40 of 3 or 16
// of 8.
enum class Inner {
  kDot4U8,  // u8 codes x s8, four a lane, into i32
  kDot4S8,  // (code - zero point) x s8, four a lane, into i32: no correction for the zero point
  kDot2,    // pairs into i16, exact over a group: 8 x 2 x 15 x 127 = 30,480 < 2^15, and 10 x 2 x 7 x 127 is
            // less; then pairs of i16 into i32
  kWide2,   // where kDot2 stands, for codes of 8 bits, of which two products pass 2^15: both factors as i16,
           // the even and the odd codes of a word, pairs into i32
};

struct MatmulSchedule {
  Inner inner = Inner::kDot4U8;
  int vector_bytes = 16, vector_registers = 16;  // a target needs at least these

  // 2..16 activation rows: a group's weights of some vectors stay in registers while the rows pass by, some
  // at once.
  int few_vectors = 1, few_rows = 4;

  // More rows: a panel of weights expanded to bytes in L1 meets all rows of a block. The register tile:
  int panel_vectors = 2;           // vectors of weight rows (a gated weight's halves share them)
  int panel_rows = 4;              // activation rows
  bool sums_in_registers = false;  // the f32 sums over the groups of a panel; else in L1
  int panel_groups = 16;           // of 32 along K; as many codes in other groups
  int block_rows = 96;  // at most, so that their sums stay in cache and tiles are enough for many threads
  int64_t block_bytes = 256 << 10;  // of quantized activations that a block keeps in L2 while panels pass

  const char* source = "";  // "measured on ...", "from ...", "guess"
};

// On a matrix unit. A panel of weights expanded to bf16 in L2 meets all rows of a block, two by two matrices
// of sums at a time.
struct MatrixSchedule {
  int panel_vectors = 1;  // of 16 weight rows (a gated weight's halves share them)
  int panel_groups = 1;   // of 32 along K
  int block_rows = 32;    // at most, a multiple of 32
  const char* source = "";
};
// Of 2 MB of L2: weights 8 x 16 rows x 1024 x 2 bytes = 256 KiB, a block's sums 128 KiB and its activations
// 512 KiB a chunk.
inline constexpr MatrixSchedule kMatrixSchedule{8, 32, 256, "measured on Sapphire Rapids"};

// The first row of the table that the target fulfils.
const MatmulSchedule& matmul_schedule(const Target& target);

}  // namespace mlc::kernel
