// What the lowerings for CPUs share: operands as buffers of their elements, a grid over rows, vectors of f32.
#pragma once

#include "kernel/lower/cache.h"

namespace mlc::kernel {

struct CpuLowering final : Lowering {
  using Lowering::Lowering;

  int lanes() const { return target.f32_lanes(); }
  // The widest vector of f32 that divides n.
  int lanes_dividing(int64_t n) const;

  Operand declare(const std::string& name, DType stored, const Dim& elements, bool writable) override;
  Operand state(bool writable) override;
  CachePages pages() const override;

  // A grid over rows; with one row the body sees the constant 0.
  void for_rows(const Dim& rows, const KernelBuilder::Body& body);
  // Vectors of each part of a head, one part after the other.
  void for_each_part(const std::vector<Part>& parts, const ExprRef& row, const ExprRef& head);
  void for_each_unit(const Units& units) override;
  void for_each_row(const Operand& x, const Operand& out, const std::function<void(Row&)>& body) override;
};

}  // namespace mlc::kernel
