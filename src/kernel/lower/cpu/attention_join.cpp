// attention_join: the parts of one row's softmax made one; a tile is a head.
#include <algorithm>

#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/quantize.h"
#include "kernel/lower/cpu/softmax.h"

namespace mlc::kernel {
namespace {

struct Join {
  CpuLowering& low;
  Operand parts, sinks, out;  // sinks: no buffer without them
  int64_t head_dim, width;    // width: columns of a head in `parts`
  int lanes, vectors;         // vectors of `lanes` columns that are summed at once

  // Columns [column, column + lanes * vectors) of a head.
  void columns(const ExprRef& head, const ExprRef& column, const ExprRef& largest) {
    KernelBuilder& k = low.k;
    BufferRef sums = k.registers("sum", {DType::kF32, lanes}, vectors),
              total = k.registers("total", {DType::kF32, 1}, 1);
    k.store(total, int_const(0), float_const(0));
    for (int v = 0; v < vectors; ++v) k.store(sums, int_const(v), float_const(0, {DType::kF32, lanes}));
    k.loop("part", int_const(0), dim_expr(parts.rows), LoopKind::kSerial, [&](ExprRef p) {
      ExprRef at = k.let("at", parts.at(p, head * width));
      ExprRef over = k.let("over", k.load(parts.buffer, at + head_dim) - largest);
      ExprRef weight = k.let("weight", softmax_weight(low, over));
      k.store(total, int_const(0),
              k.load(total, int_const(0)) + weight * k.load(parts.buffer, at + (head_dim + 1)));
      ExprRef wide = lanes == 1 ? weight : k.let("wide", broadcast(weight, lanes));
      for (int v = 0; v < vectors; ++v) {
        ExprRef value = k.load(parts.buffer, at + column + v * lanes, lanes);
        k.store(sums, int_const(v), k.load(sums, int_const(v)) + wide * value);
      }
    });
    ExprRef all = k.let("all", k.load(total, int_const(0)));
    if (sinks.buffer) all = k.let("all", add_sink(low, all, largest, low.load(sinks, head)));
    std::vector<ExprRef> values;
    for (int v = 0; v < vectors; ++v) values.push_back(k.let("joined", k.load(sums, int_const(v)) / all));
    ExprRef to = k.let("to", head * head_dim + column);
    if (out.quantized())
      return quantize_group(low, out.buffer, QuantizedRow(out, int_const(0)), to / out.q8.group, values);
    for (int v = 0; v < vectors; ++v) low.store(out, out.at(int_const(0), to + v * lanes), values[size_t(v)]);
  }
};

}  // namespace

Function lower_attention_join(CpuLowering& low) {
  KernelBuilder& k = low.k;
  const int64_t heads = low.node.get_int("heads");
  Operand parts = low.matrix(0, "parts");
  low.vector(1, "limits");
  Operand sinks;
  if (low.node.inputs.size() > 2) sinks = low.vector(2, "sinks");
  Operand out = low.result();
  Join join{low, parts, sinks, out, out.columns / heads, parts.columns / heads, 1, 1};
  join.lanes = low.lanes_dividing(out.quantized() ? out.q8.group : join.head_dim);
  join.vectors = out.quantized() ? out.q8.group / join.lanes : 1;
  const int64_t step = join.lanes * join.vectors;
  k.grid("head", heads, [&](ExprRef head) {
    BufferRef largest = k.registers("largest", {DType::kF32, 1}, 1);
    k.store(largest, int_const(0), float_const(-3e38));
    k.loop("part", int_const(0), dim_expr(parts.rows), LoopKind::kSerial, [&](ExprRef p) {
      ExprRef of_part = k.load(parts.buffer, parts.at(p, head * join.width + join.head_dim));
      k.store(largest, int_const(0), binary(BinaryOp::kMax, k.load(largest, int_const(0)), of_part));
    });
    ExprRef top = k.let("top", k.load(largest, int_const(0)));
    k.loop("column", 0, join.head_dim / step, LoopKind::kSerial,
           [&](ExprRef c) { join.columns(head, k.let("column", c * step), top); });
  });
  return k.finish();
}

}  // namespace mlc::kernel
