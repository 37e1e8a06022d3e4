// attention_join: the parts of one row's softmax made one; a tile is a head.
#include <algorithm>

#include "kernel/lower/cache.h"
#include "kernel/lower/quantize.h"

namespace mlc::kernel {
namespace {

struct Join {
  Lowering& low;
  Matrix parts, out;
  int64_t head_dim, width;  // width: columns of a head in `parts`
  int lanes, vectors;       // vectors of `lanes` columns that are summed at once

  // Columns [column, column + lanes * vectors) of a head.
  void columns(const ExprRef& head, const ExprRef& column, const ExprRef& largest) {
    KernelBuilder& k = low.k;
    BufferRef sums = k.registers("sum", {DType::kF32, lanes}, vectors), total = k.registers("total", {DType::kF32, 1}, 1);
    k.store(total, int_const(0), float_const(0));
    for (int v = 0; v < vectors; ++v) k.store(sums, int_const(v), float_const(0, {DType::kF32, lanes}));
    k.loop("part", int_const(0), dim_expr(parts.rows), LoopKind::kSerial, [&](ExprRef p) {
      ExprRef at = k.let("at", parts.at(p, head * double(width)));
      ExprRef over = k.let("over", k.load(parts.buffer, at + double(head_dim)) - largest);
      ExprRef weight = k.let("weight", softmax_weight(low, over));
      k.store(total, int_const(0), k.load(total, int_const(0)) + weight * k.load(parts.buffer, at + double(head_dim + 1)));
      ExprRef wide = lanes == 1 ? weight : k.let("wide", broadcast(weight, lanes));
      for (int v = 0; v < vectors; ++v) {
        ExprRef value = k.load(parts.buffer, at + column + double(v * lanes), lanes);
        k.store(sums, int_const(v), k.load(sums, int_const(v)) + wide * value);
      }
    });
    ExprRef all = k.let("all", k.load(total, int_const(0)));
    std::vector<ExprRef> values;
    for (int v = 0; v < vectors; ++v) values.push_back(k.let("joined", k.load(sums, int_const(v)) / all));
    ExprRef to = k.let("to", head * double(head_dim) + column);
    if (out.quantized())
      return quantize_group(low, out.buffer, QuantizedRow(out, int_const(0)), to / double(out.q8.group), values);
    for (int v = 0; v < vectors; ++v) low.store_f32(out.buffer, out.at(int_const(0), to + double(v * lanes)), values[size_t(v)]);
  }
};

}  // namespace

ExprRef softmax_weight(Lowering& low, const ExprRef& change) {
  // 2^y for y = change / ln 2 = n + f: adding 1.5 * 2^23 rounds y to n in the low bits of the sum, which go to the exponent.
  // 2^f = 1 + f (c1 + .. + c5 f^4) on -1/2..1/2 is a minimax fit (Lawson's iteration), 9.2e-8 off relatively.
  constexpr double kLog2E = 1.44269504088896341, kRound = 0x1.8p23;
  constexpr double kFit[] = {0.001326472731307149, 0.009671512991189957, 0.05550733581185341, 0.24022242426872253,
                             0.6931470036506653, 1};
  KernelBuilder& k = low.k;
  auto all = [&](double value) { return float_const(value, change->type); };
  ExprRef rounded = k.let("rounded", fma(change, all(kLog2E), all(kRound)));
  ExprRef f = k.let("fraction", fma(change, all(kLog2E), all(kRound) - rounded));
  ExprRef fit = all(kFit[0]);
  for (size_t i = 1; i < std::size(kFit); ++i) fit = fma(fit, f, all(kFit[i]));
  const Type ints = change->type.with_dtype(DType::kI32);
  ExprRef exponent = binary(BinaryOp::kShl, bitcast(rounded, ints), int_const(23));
  ExprRef power = bitcast(exponent + bitcast(all(1), ints), change->type);
  return select(binary(BinaryOp::kLt, change, float_const(-80)), all(0), fit * power);
}

Function lower_attention_join(Lowering& low) {
  KernelBuilder& k = low.k;
  const int64_t heads = low.node.get_int("heads");
  Matrix parts = low.matrix(0, "parts");
  low.vector(1, "positions");
  Matrix out = low.result();
  Join join{low, parts, out, out.columns / heads, parts.columns / heads, 1, 1};
  join.lanes = low.lanes_dividing(out.quantized() ? out.q8.group : join.head_dim);
  join.vectors = out.quantized() ? out.q8.group / join.lanes : 1;
  const int64_t step = join.lanes * join.vectors;
  k.grid("head", heads, [&](ExprRef head) {
    BufferRef largest = k.registers("largest", {DType::kF32, 1}, 1);
    k.store(largest, int_const(0), float_const(-3e38));
    k.loop("part", int_const(0), dim_expr(parts.rows), LoopKind::kSerial, [&](ExprRef p) {
      ExprRef of_part = k.load(parts.buffer, parts.at(p, head * double(join.width) + double(join.head_dim)));
      k.store(largest, int_const(0), binary(BinaryOp::kMax, k.load(largest, int_const(0)), of_part));
    });
    ExprRef top = k.let("top", k.load(largest, int_const(0)));
    k.loop("column", 0, join.head_dim / step, LoopKind::kSerial,
           [&](ExprRef c) { join.columns(head, k.let("column", c * double(step)), top); });
  });
  return k.finish();
}

}  // namespace mlc::kernel
