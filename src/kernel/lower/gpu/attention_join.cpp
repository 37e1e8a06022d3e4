// attention_join on GPUs: the parts of one row's softmax made one.
#include "base/strings.h"
#include "base/user_error.h"
#include "kernel/lower/gpu/context.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {

constexpr double kLowest = -3e38;  // what a part without tokens says is its largest score

// A thread joins two elements of one head.
Function lower_gpu_attention_join(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  Operand parts = gpu.matrix(0, "parts");
  gpu.vector(1, "limits");
  Operand sinks;
  if (gpu.node.inputs.size() > 2) sinks = gpu.vector(2, "sinks");
  Operand out = gpu.result();
  int64_t heads = gpu.node.get_int("heads"), size = out.columns / heads;
  if (size % 2 != 0)
    throw UserError(str("attention_join: heads of ", size, " elements have no kernel on ", gpu.target.name));
  gpu.for_row_units(1, out.columns / 2, [&](ExprRef, ExprRef unit) {
    ExprRef head = k.let("head", unit / (size / 2)), d = k.let("d", unit % (size / 2) * 2);
    auto state = [&](const ExprRef& p) {
      return k.let("state", gpu.load(parts, parts.at(p, head * (size + 2) + size), 2));
    };
    BufferRef largest = k.registers("largest", {DType::kF32, 1}, 1),
              total = k.registers("total", {DType::kF32, 1}, 1);
    BufferRef sum = k.registers("sum", {DType::kF32, 2}, 1);
    ExprRef only = int_const(0);
    k.store(largest, only, float_const(kLowest));
    k.store(total, only, float_const(0));
    k.store(sum, only, float_const(0, {DType::kF32, 2}));
    ExprRef count = dim_expr(parts.rows);
    k.loop("p", only, count, LoopKind::kSerial, [&](ExprRef p) {
      k.store(largest, only, binary(BinaryOp::kMax, k.load(largest, only), extract(state(p), 0)));
    });
    ExprRef most = k.let("most", k.load(largest, only));
    k.loop("p", only, count, LoopKind::kSerial, [&](ExprRef p) {
      ExprRef s = state(p), weight = k.let("weight", call(MathFn::kExp, extract(s, 0) - most));
      ExprRef v = gpu.load(parts, parts.at(p, head * (size + 2) + d), 2);
      k.store(total, only, fma(weight, extract(s, 1), k.load(total, only)));
      k.store(sum, only, fma(broadcast(weight, 2), v, k.load(sum, only)));
    });
    ExprRef all = k.load(total, only);
    if (sinks.buffer) all = add_sink(k.let("total", all), most, gpu.load(sinks, head));
    gpu.store(out, out.at(only, head * size + d), k.load(sum, only) / broadcast(all, 2));
  });
  return k.finish();
}

}  // namespace mlc::kernel
