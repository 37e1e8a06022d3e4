// What the int8 matmul's bodies for one, few and many activation rows share: operands, unpacking and the
// inner product.
//
// A vector lane is one weight row. Per group a lane's four words become vectors of bytes, one for each step
// of four codes (layouts.h: 8 of 4 bits, 10 of 3, 4 of 8); each meets four activation codes broadcast to all
// lanes, and the integer sum, exact, becomes a float once: sums += float(sum) * (weight scale * activation
// scale), groups in order. All bodies do so for every result, so they give equal bits.
#pragma once

#include <vector>

#include "kernel/lower/cpu/quantize.h"
#include "kernel/lower/cpu/tiled_matmul.h"
#include "kernel/schedule/cpu/matmul_table.h"

namespace mlc::kernel {

struct Q8Matmul : TiledMatmul {
  explicit Q8Matmul(CpuLowering& l);

  const MatmulSchedule& schedule;
  const Inner inner;

  Type bytes() const { return {inner == Inner::kDot4S8 ? DType::kI8 : DType::kU8, 4 * lanes}; }

  int group_size() const { return weight.layout.format.group; }
  int steps() const { return group_size() / 4; }
  int steps_per_part() const { return weight.layout.codes_per_part() / 4; }
  int step_index(int part, int t) const { return code_index(weight.layout, 4 * t).at(part) / 4; }

  // The codes of a group as vectors of bytes: step s holds k = 4s .. 4s+3 of each lane. All; or step t of a
  // part's words.
  std::vector<ExprRef> unpack(const ExprRef& row, const ExprRef& group);
  std::vector<ExprRef> part_words(const ExprRef& row, const ExprRef& group, int part);
  ExprRef unpack_step(const std::vector<ExprRef>& words, int t);

  // Fetches part `part` of `parts` of the weights of a later group, a fixed distance ahead in their stream.
  void prefetch(const ExprRef& row, const ExprRef& group, int part = 0, int parts = 1);

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

  // The inner product over a group, in order: begin, steps() x step, finish (f32 lanes). The start is needed
  // first or last.
  bool starts_first() const { return inner == Inner::kDot4U8 || inner == Inner::kWide2; }
  bool starts_last() const { return inner == Inner::kDot2; }
  ExprRef begin(const ExprRef& start);
  ExprRef step(const ExprRef& accumulator, const ExprRef& weights, const ExprRef& activation);
  ExprRef finish(const ExprRef& accumulator, const ExprRef& start);
};

void matmul_one_row(Q8Matmul& mm);
void matmul_few_rows(Q8Matmul& mm);  // needs LowerOptions::max_rows
void matmul_many_rows(Q8Matmul& mm);

}  // namespace mlc::kernel
