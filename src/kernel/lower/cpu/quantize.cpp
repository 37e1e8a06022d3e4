// quantize_q8 and to_tiles: f32 rows to int8 codes with one scale and one accumulator start per group, and to
// tiles of bf16.
#include "kernel/lower/cpu/quantize.h"

#include <algorithm>

#include "kernel/lower/cpu/lowerings.h"

namespace mlc::kernel {

QuantizedRow::QuantizedRow(const Operand& m, const ExprRef& row)
    : size(m.q8.group), groups(m.q8.groups(m.columns)), zero_point(m.q8.zero_point()), base(row * bytes()) {}

ExprRef magnitude_bits(const ExprRef& v) {
  return binary(BinaryOp::kAnd, bitcast(v, {DType::kI32, v->type.lanes}), int_const(0x7FFFFFFF));
}

Coder::Coder(CpuLowering& low, const ExprRef& top) {
  KernelBuilder& k = low.k;
  ExprRef finite = k.let("finite", less(top, int_const(0x7F800000)));
  ExprRef amax = bitcast(top, {DType::kF32, 1});
  scale = k.let("scale", select(finite, amax / 127, float_const(__builtin_nan(""))));
  usable_ = k.let("usable", binary(BinaryOp::kGt, scale, float_const(0)));  // false for NaN
  divisor_ = k.let("divisor", select(usable_, scale, float_const(1)));
}

ExprRef Coder::code(const ExprRef& value) const {
  ExprRef scaled = select(broadcast(usable_, value->type.lanes), value / divisor_, float_const(0));
  ExprRef limited =
      binary(BinaryOp::kMin, binary(BinaryOp::kMax, scaled, float_const(-127)), float_const(127));
  return cast(unary(UnaryOp::kRoundEven, limited), DType::kI32);
}

void quantize_group(CpuLowering& low, const BufferRef& out, const QuantizedRow& row, const ExprRef& group,
                    const std::vector<ExprRef>& values) {
  KernelBuilder& k = low.k;
  ExprRef largest;
  for (const ExprRef& v : values)
    largest = largest ? binary(BinaryOp::kMax, largest, magnitude_bits(v)) : magnitude_bits(v);
  Coder coder(low, k.let("top", reduce(BinaryOp::kMax, largest)));
  ExprRef sum;
  for (size_t i = 0; i < values.size(); ++i) {
    ExprRef code = k.let("code", coder.code(values[i]));
    k.store(out, row.codes(group) + static_cast<int64_t>(i) * code->type.lanes, cast(code, DType::kI8));
    sum = sum ? sum + code : code;
  }
  k.store(out, row.scale(group), coder.scale);
  k.store(out, row.start(group), reduce(BinaryOp::kAdd, sum) * -row.zero_point);
}

void store_row(CpuLowering& low, const Operand& out, const ExprRef& row, const RowValue& value) {
  KernelBuilder& k = low.k;
  if (!out.quantized() && !out.tiled) {
    k.vector_loop("i", int_const(out.columns), low.lanes(), [&](ExprRef i, int lanes) {
      const Unit u{row, int_const(0), i, lanes, nullptr};
      low.store(out, u, value(u));
    });
    return;
  }
  const int64_t size = out.tiled ? graph::kTileColumns : out.q8.group;
  int lanes = low.lanes_dividing(size);
  auto group = [&](ExprRef g, int64_t count) {
    std::vector<ExprRef> values;
    for (int i = 0; i < size; i += lanes) {
      ExprRef at = k.let("i", g * size + i);
      ExprRef mask = count >= i + lanes
                         ? nullptr
                         : k.let("inside", less(ramp(int_const(i), 1, lanes), int_const(count)));
      ExprRef v = value({row, int_const(0), at, lanes, mask});
      values.push_back(k.let("v", mask ? select(mask, v, float_const(0)) : v));
    }
    if (out.quantized()) return quantize_group(low, out.buffer, QuantizedRow(out, row), g, values);
    ExprRef at = k.let("at", out.tile_at(row, g));
    for (size_t i = 0; i < values.size(); ++i)
      low.store(out, at + static_cast<int64_t>(i) * lanes, values[i]);
  };
  k.loop("group", 0, out.columns / size, LoopKind::kSerial, [&](ExprRef g) { group(g, size); });
  if (out.columns % size) group(int_const(out.columns / size), out.columns % size);
}

Function lower_to_rows(CpuLowering& low) {
  Operand x = low.matrix(0, "x"), out = low.result();
  low.for_each_row(x, out,
                   [&](Row& row) { row.store(out, [](const Unit&, const ExprRef& v) { return v; }); });
  return low.k.finish();
}

}  // namespace mlc::kernel
