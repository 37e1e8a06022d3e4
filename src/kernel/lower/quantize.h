// A q8g32 row in memory, and its making: codes i8[groups * 32], scales f32[groups], sums i32[groups].
#pragma once

#include <vector>

#include "kernel/lower/context.h"

namespace mlc::kernel {

// Byte offsets of one row's parts in the u8 buffer of a q8g32 activation.
struct QuantizedRow {
  QuantizedRow(const Matrix& m, const ExprRef& row);
  ExprRef codes(const ExprRef& group) const { return base + group * 32.0; }
  ExprRef scale(const ExprRef& group) const { return base + double(groups * 32) + group * 4.0; }
  ExprRef sum(const ExprRef& group) const { return base + double(groups * 36) + group * 4.0; }
  int64_t groups;
  ExprRef base;
};

// Quantizes one group, given as f32 vectors of 32 lanes in all (zeros past the row's end), by the rule of
// graph/ops/math.h: scale = largest magnitude / 127, code = x / scale to even; an infinity or NaN makes the scale NaN.
void quantize_group(Lowering& low, const BufferRef& out, const QuantizedRow& row, const ExprRef& group,
                    const std::vector<ExprRef>& values);

// Stores a row of `out` (f32, or q8g32, quantized group by group); value(i, lanes, mask) gives elements i.. of it, where
// masked lanes may give anything.
using RowValue = std::function<ExprRef(ExprRef, int, ExprRef)>;
void store_row(Lowering& low, const Matrix& out, const ExprRef& row, const RowValue& value);

}  // namespace mlc::kernel
