// rms_norm, layer_norm and softmax: sums over a row, then its elements once more.
#include "kernel/lower/lowerings.h"
#include "kernel/lower/region.h"

namespace mlc::kernel {
namespace {

Function lower_norm(Lowering& low, bool centered) {
  KernelBuilder& k = low.k;
  Operand x = low.matrix(0, "x"), weight = low.vector(1, "weight"), bias;
  if (low.node.inputs.size() > 2) bias = low.vector(2, "bias");
  LoweredRegion region(low, x.columns);
  Operand out = low.result();
  const int64_t part =
      low.node.attributes.count("groups") ? x.columns / low.node.get_int("groups") : weight.columns;
  if (part < x.columns)
    for (Operand* of : {&x, &out}) low.split_heads(*of, part);
  if (part < weight.columns)
    for (Operand* of : {&weight, &bias})
      if (of->buffer) low.split_heads(*of, part);
  low.for_each_row(x, out, [&](Row& row) {
    ExprRef mean;
    if (centered) mean = k.let("mean", row.sum("sum", [](const ExprRef& v) { return v; }) / x.columns);
    ExprRef squares = row.sum("squares", [&](const ExprRef& v) {
      ExprRef d = mean ? k.let("d", v - mean) : v;
      return d * d;
    });
    ExprRef factor = k.let("factor", call(MathFn::kRsqrt, squares / x.columns + low.node.get_double("eps")));
    row.store(out, [&](const Unit& u, const ExprRef& v) {
      ExprRef y = (mean ? v - mean : v) * factor * low.load(weight, u);
      if (bias.buffer) y = y + low.load(bias, u);
      return region.apply(u, {y});
    });
  });
  return k.finish();
}

}  // namespace

Function lower_rms_norm(Lowering& low) { return lower_norm(low, false); }
Function lower_layer_norm(Lowering& low) { return lower_norm(low, true); }

Function lower_softmax(Lowering& low) {
  // What the meaning says of infinities is kept without any: logits end at 1e38, differences at -1e30.
  constexpr double kLargest = 1e38, kLeast = -1e30;
  KernelBuilder& k = low.k;
  Operand x = low.matrix(0, "x"), settings = low.matrix(1, "settings"), out = low.result();
  low.for_each_row(x, out, [&](Row& row) {
    ExprRef scale = k.let("scale", low.load(settings, settings.at(row.index, int_const(0))));
    auto limited = [&](const ExprRef& v) {
      return binary(BinaryOp::kMin, binary(BinaryOp::kMax, v, float_const(-kLargest)), float_const(kLargest));
    };
    ExprRef top = row.reduce("top", BinaryOp::kMax, float_const(-kLargest), limited);
    auto power = [&](const ExprRef& v) {
      ExprRef d = k.let("d", binary(BinaryOp::kMax, limited(v) - top, float_const(kLeast)));
      ExprRef sharp =
          select(binary(BinaryOp::kEq, d, float_const(0)), float_const(1, d->type), float_const(0, d->type));
      ExprRef greedy = broadcast(binary(BinaryOp::kEq, scale, float_const(0)), d->type.lanes);
      return k.let("e", select(greedy, sharp, call(MathFn::kExp, d * scale)));
    };
    ExprRef sum = row.sum("sum", power);
    row.store(out, [&](const Unit&, const ExprRef& v) { return power(v) / sum; });
  });
  return k.finish();
}

}  // namespace mlc::kernel
