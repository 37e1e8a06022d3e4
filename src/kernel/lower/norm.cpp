// rms_norm, layer_norm and softmax: sums over a row, then its elements once more.
#include "kernel/lower/norm.h"

#include "base/check.h"
#include "base/strings.h"
#include "graph/ops/norm.h"
#include "kernel/lower/lowerings.h"
#include "kernel/lower/region.h"

namespace mlc::kernel {

LoweredNorm::LoweredNorm(Lowering& low, const std::string& op, size_t first, const std::string& prefix)
    : low_(low), centered_(op == "layer_norm"), weight_(low.vector(first, prefix + "weight")) {
  if (low.node.inputs.size() > first + 1) bias_ = low.vector(first + 1, prefix + "bias");
}

void LoweredNorm::split_heads(int64_t part) {
  for (Operand* of : {&weight_, &bias_})
    if (of->buffer) low_.split_heads(*of, part);
}

void LoweredNorm::store(Row& row, const Operand& out, const Row::Value& finish) const {
  KernelBuilder& k = low_.k;
  const int64_t columns = out.columns;
  ExprRef mean;
  if (centered_) mean = k.let("mean", row.sum("sum", [](const ExprRef& v) { return v; }) / columns);
  ExprRef squares = row.sum("squares", [&](const ExprRef& v) {
    ExprRef d = mean ? k.let("d", v - mean) : v;
    return d * d;
  });
  ExprRef factor = k.let("factor", call(MathFn::kRsqrt, squares / columns + low_.node.get_double("eps")));
  row.store(out, [&](const Unit& u, const ExprRef& v) {
    ExprRef y = (mean ? v - mean : v) * factor * low_.load(weight_, u);
    if (bias_.buffer) y = y + low_.load(bias_, u);
    return finish(u, y);
  });
}

void check_no_norm(const Lowering& low) {
  internal_check(!low.node.attributes.count(graph::kNormAttribute), low.node.op,
                 ": fuse_norms gave a norm to a matmul that has no kernel for it");
}

namespace {

Function lower_norm(Lowering& low) {
  Operand x = low.matrix(0, "x");
  LoweredNorm norm(low, low.node.op, 1);
  LoweredRegion region(low, x.columns);
  Operand out = low.result();
  const int64_t part =
      low.node.attributes.count("groups") ? x.columns / low.node.get_int("groups") : norm.weight().columns;
  if (part < x.columns)
    for (Operand* of : {&x, &out}) low.split_heads(*of, part);
  if (part < norm.weight().columns) norm.split_heads(part);
  low.for_each_row(x, out, [&](Row& row) {
    norm.store(row, out, [&](const Unit& u, const ExprRef& y) { return region.apply(u, {y}); });
  });
  return low.k.finish();
}

}  // namespace

Function lower_rms_norm(Lowering& low) { return lower_norm(low); }
Function lower_layer_norm(Lowering& low) { return lower_norm(low); }

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
