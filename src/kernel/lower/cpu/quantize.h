// A row of quantized activations in memory, and its making: codes i8[groups * size], scales f32[groups],
// starts i32[groups]. A start is -z x the sum of the group's codes: what an accumulator begins with when it
// meets weight codes q whose zero point is z: sum (q - z) x = sum q x - z sum x.
#pragma once

#include <vector>

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

// Byte offsets of one row's parts in the u8 buffer of a quantized activation.
struct QuantizedRow {
  QuantizedRow(const Operand& m, const ExprRef& row);
  ExprRef codes(const ExprRef& group) const { return base + group * size; }
  ExprRef scale(const ExprRef& group) const { return base + groups * size + group * 4; }
  ExprRef start(const ExprRef& group) const { return base + groups * (size + 4) + group * 4; }
  int64_t bytes() const { return groups * (size + 8); }  // to the same part of the next row
  int64_t size, groups;                                  // size: elements of a group
  int zero_point;
  ExprRef base;
};

// What turns values into codes by the rule of graph/ops/math.h.
struct Coder {
  // top: the largest of the values' magnitude_bits.
  Coder(CpuLowering& low, const ExprRef& top);
  ExprRef code(const ExprRef& value) const;  // i32
  ExprRef scale;                             // f32; NaN if a value is an infinity or NaN

 private:
  ExprRef usable_, divisor_;
};

// The bit patterns of |v|, i32: they order floats as integers do, with infinity and NaN on top.
ExprRef magnitude_bits(const ExprRef& v);

// Quantizes one group, given as f32 vectors of its size in all (zeros past the row's end).
void quantize_group(CpuLowering& low, const BufferRef& out, const QuantizedRow& row, const ExprRef& group,
                    const std::vector<ExprRef>& values);

// Stores a row of `out` (f32, or quantized or tiles, group by group); value(unit) gives its elements, where
// masked lanes may give anything.
using RowValue = std::function<ExprRef(const Unit&)>;
void store_row(CpuLowering& low, const Operand& out, const ExprRef& row, const RowValue& value);

}  // namespace mlc::kernel
