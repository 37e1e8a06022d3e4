// rms_norm and layer_norm: one tile per row, sums in vector lanes, the second pass over a row that is still
// in cache. A q8g32 result is quantized as it is made.
#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/quantize.h"

namespace mlc::kernel {

Function lower_rms_norm(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Matrix x = low.matrix(0, "x");
  BufferRef weight = low.vector(1, "weight");
  Matrix out = low.result();
  low.for_each_row(x.rows, [&](ExprRef r) {
    ExprRef squares = low.sum_over("squares", x.columns, [&](ExprRef i, int lanes) {
      ExprRef v = k.let("v", low.load_f32(x.buffer, x.at(r, i), lanes));
      return v * v;
    });
    ExprRef mean = squares / double(x.columns);
    ExprRef factor = k.let("factor", call(MathFn::kRsqrt, mean + low.node.get_double("eps")));
    store_row(low, out, r, [&](ExprRef i, int lanes, ExprRef mask) {
      return low.load_f32(x.buffer, x.at(r, i), lanes, mask) * factor * low.load_f32(weight, i, lanes, mask);
    });
  });
  return k.finish();
}

Function lower_layer_norm(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Matrix x = low.matrix(0, "x");
  BufferRef weight = low.vector(1, "weight");
  BufferRef bias = low.node.inputs.size() > 2 ? low.vector(2, "bias") : nullptr;
  Matrix out = low.result();
  low.for_each_row(x.rows, [&](ExprRef r) {
    auto value = [&](ExprRef i, int lanes, ExprRef mask = nullptr) {
      return low.load_f32(x.buffer, x.at(r, i), lanes, mask);
    };
    ExprRef mean = k.let("mean", low.sum_over("sum", x.columns, [&](ExprRef i, int lanes) {
      return value(i, lanes);
    }) / double(x.columns));
    ExprRef squares = low.sum_over("squares", x.columns, [&](ExprRef i, int lanes) {
      ExprRef d = k.let("d", value(i, lanes) - mean);
      return d * d;
    });
    ExprRef variance = squares / double(x.columns);
    ExprRef factor = k.let("factor", call(MathFn::kRsqrt, variance + low.node.get_double("eps")));
    store_row(low, out, r, [&](ExprRef i, int lanes, ExprRef mask) {
      ExprRef v = (value(i, lanes, mask) - mean) * factor * low.load_f32(weight, i, lanes, mask);
      return bias ? v + low.load_f32(bias, i, lanes, mask) : v;
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
