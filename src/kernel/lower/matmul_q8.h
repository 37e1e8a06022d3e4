// What the int8 matmul's bodies for one, few and many activation rows share: operands, unpacking and the inner product.
//
// A vector lane is one weight row. Per group of 32 a lane's four words become eight vectors of bytes (low and high
// nibbles: steps), each meets four activation codes broadcast to all lanes, and the integer sum, exact, becomes a float
// once: sums += float(sum) * (weight scale * activation scale), groups in order. All bodies do just this for every
// result, so they give equal bits.
#pragma once

#include <utility>
#include <vector>

#include "kernel/lower/quantize.h"
#include "kernel/lower/tiled_matmul.h"
#include "kernel/schedule/cpu/matmul_table.h"

namespace mlc::kernel {

inline constexpr int kSteps = 8;  // of a group: 4 codes each

struct Q8Matmul : TiledMatmul {
  explicit Q8Matmul(Lowering& l) : TiledMatmul(l), schedule(matmul_schedule(l.target)) {}

  const MatmulSchedule& schedule;

  Type bytes() const { return {schedule.inner == Inner::kDot4S8 ? DType::kI8 : DType::kU8, 4 * lanes}; }

  // The codes of a group as vectors of bytes: step s holds k = 4s .. 4s+3 of each lane. Word j has steps j and j + 4.
  std::vector<ExprRef> unpack(const ExprRef& row, const ExprRef& group);
  std::pair<ExprRef, ExprRef> unpack_word(const ExprRef& row, const ExprRef& group, int j);

  // Fetches the weights of a later group, a fixed distance ahead in their stream.
  void prefetch(const ExprRef& row, const ExprRef& group);

  // Where the codes, scales and starts of one group of consecutive activation rows lie.
  struct Group {
    ExprRef codes, scales, starts;
    int64_t stride;  // bytes from row to row
  };
  Group activation_group(const QuantizedRow& first, const ExprRef& group);
  // Of row m of the group, in every lane: four codes; the scale; the start of an i32 sum.
  ExprRef activation(const Group& group, int m, int step);
  ExprRef activation_scale(const Group& group, int m);
  ExprRef activation_start(const Group& group, int m);

  // The inner product over a group, in order: begin, 8 x step, finish (f32 lanes). The start is needed first or last.
  bool starts_first() const { return schedule.inner == Inner::kDot4U8; }
  bool starts_last() const { return schedule.inner == Inner::kDot2; }
  ExprRef begin(const ExprRef& start);
  ExprRef step(const ExprRef& accumulator, const ExprRef& weights, const ExprRef& activation);
  ExprRef finish(const ExprRef& accumulator, const ExprRef& start);
};

void matmul_one_row(Q8Matmul& mm);
void matmul_few_rows(Q8Matmul& mm);   // needs LowerOptions::max_rows
void matmul_many_rows(Q8Matmul& mm);

}  // namespace mlc::kernel
