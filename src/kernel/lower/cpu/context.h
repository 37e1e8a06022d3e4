// What the lowerings for CPUs share: operands as buffers of elements, loops over rows, and sums in vector
// lanes.
#pragma once

#include <string>

#include "kernel/lower/context.h"

namespace mlc::kernel {

// A 2-D operand or result in memory.
struct Matrix {
  BufferRef buffer;
  Dim rows;
  int64_t columns = 0;
  int64_t row_stride = 0, column_offset = 0;
  bool tiled = false;  // bf16 in graph::kTileLayout
  WeightFormat q8;  // of quantized activations, whose bytes quantize.h knows: bits and group of the weights
  bool quantized() const { return q8.group > 0; }
  ExprRef at(ExprRef row, ExprRef column) const {  // index of an element
    return row * static_cast<double>(row_stride) + column + static_cast<double>(column_offset);
  }
  // Tiled: index of the first of the 32 elements of a row in a group of columns.
  ExprRef tile_at(const ExprRef& row, const ExprRef& group) const {
    auto groups = static_cast<double>((columns + graph::kTileColumns - 1) / graph::kTileColumns);
    return ((row / double(graph::kTileRows) * groups + group) * double(graph::kTileRows) +
            row % graph::kTileRows) *
           double(graph::kTileColumns);
  }
};

struct CpuLowering : Lowering {
  using Lowering::Lowering;

  int lanes() const { return target.f32_lanes(); }
  // The widest vector of f32 that divides n.
  int lanes_dividing(int64_t n) const;

  // Declare operand i of the node (call them in order), the epilogue's operands, the state and the output.
  Matrix matrix(size_t i, const std::string& name);
  BufferRef vector(size_t i, const std::string& name);
  Matrix result(size_t i = 0, const std::string& name = "out");
  BufferRef state(bool writable);

  // Elements [index, index + lanes) as f32.
  ExprRef load_f32(const BufferRef& buffer, ExprRef index, int lanes = 1, ExprRef mask = nullptr);
  // Rounds an f32 value to the buffer's type and stores it.
  void store_f32(const BufferRef& buffer, ExprRef index, ExprRef value, ExprRef mask = nullptr);
  // A grid over the rows of `m`; with one row the body sees the constant 0.
  void for_each_row(const Dim& rows, const KernelBuilder::Body& body);
  // sum over [0, n) of term(index, lanes): vector partial sums, one horizontal add at the end, then the rest
  // singly.
  ExprRef sum_over(const std::string& name, int64_t n, const std::function<ExprRef(ExprRef, int)>& term);
};

}  // namespace mlc::kernel
