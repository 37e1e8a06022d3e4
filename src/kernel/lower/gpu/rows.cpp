// Row ops on GPUs: norms with one group a row, elementwise ops and rope with one unit a thread.
#include <algorithm>

#include "kernel/lower/gpu/cache.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {
namespace {

// The elements of one row that a thread owns: vectors of n lanes, kept where they are few.
struct RowParts {
  GpuLowering& gpu;
  const WordMatrix& x;
  ExprRef row, thread;
  int threads = 0, n = 1;
  std::vector<ExprRef> kept, units, inside;  // of kept vectors; zeros outside of the row

  RowParts(GpuLowering& g, const WordMatrix& m, ExprRef r, ExprRef t, int count, int lanes)
      : gpu(g), x(m), row(std::move(r)), thread(std::move(t)), threads(count), n(lanes) {
    int64_t total = x.columns / n;
    if ((total + threads - 1) / threads > gpu.schedule.kept_vectors) return;
    for (int64_t done = 0; done < total; done += threads) {
      ExprRef unit = gpu.k.let("unit", thread + double(done));
      bool all = done + threads <= total;
      inside.push_back(all ? nullptr : gpu.k.let("inside", less(unit, int_const(total))));
      units.push_back(all ? unit : gpu.k.let("unit", binary(BinaryOp::kMin, unit, int_const(total - 1))));
      kept.push_back(gpu.k.let("x", zero_outside(load(units.back()), inside.back())));
    }
  }

  ExprRef load(const ExprRef& unit) { return gpu.load(x.words, x.at(row, unit * double(n)), n); }
  static ExprRef zero_outside(const ExprRef& v, const ExprRef& inside) {
    return inside ? select(inside, v, float_const(0, v->type)) : v;
  }

  // body(first element, vector, inside or null) for every vector of the thread.
  void for_each(const std::function<void(ExprRef, ExprRef, ExprRef)>& body) {
    for (size_t i = 0; i < kept.size(); ++i) body(units[i] * double(n), kept[i], inside[i]);
    if (!kept.empty()) return;
    gpu.for_units(x.columns / n, threads, thread, [&](ExprRef unit, ExprRef in) {
      body(unit * double(n), gpu.k.let("x", zero_outside(load(unit), in)), in);
    });
  }

  // The group's sum of term(vector); term of a vector outside must be zeros.
  ExprRef sum(const std::function<ExprRef(ExprRef, ExprRef)>& term) {
    BufferRef total = gpu.k.registers("total", {DType::kF32, n}, 1);
    gpu.k.store(total, int_const(0), float_const(0, {DType::kF32, n}));
    for_each([&](ExprRef, ExprRef v, ExprRef in) {
      gpu.k.store(total, int_const(0), gpu.k.load(total, int_const(0)) + term(v, in));
    });
    ExprRef mine = gpu.k.let("mine", sum_lanes(gpu.k, gpu.k.load(total, int_const(0))));
    return gpu.group_reduce(BinaryOp::kAdd, mine, thread, threads);
  }
};

Function norm(Lowering& low, bool centered) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  WordMatrix x = gpu.matrix(0, "x");
  Words weight = gpu.vector(1, "weight"), bias;
  if (low.node.inputs.size() > 2) bias = gpu.vector(2, "bias");
  WordMatrix out = gpu.result();
  int n = std::min(x.lanes(), out.lanes());
  int threads = gpu.threads_for(x.columns / n);
  gpu.for_rows(x.rows, threads, [&](ExprRef row, ExprRef thread) {
    RowParts parts(gpu, x, row, thread, threads, n);
    ExprRef mean;
    if (centered) mean = k.let("mean", parts.sum([](ExprRef v, ExprRef) { return v; }) / double(x.columns));
    ExprRef squares = parts.sum([&](ExprRef v, ExprRef inside) {
      ExprRef d = k.let("d", mean ? RowParts::zero_outside(v - mean, inside) : v);
      return d * d;
    });
    ExprRef factor =
        k.let("factor", call(MathFn::kRsqrt, squares / double(x.columns) + low.node.get_double("eps")));
    parts.for_each([&](ExprRef at, ExprRef v, ExprRef inside) {
      ExprRef y = (mean ? v - mean : v) * factor * gpu.load(weight, at, n);
      if (bias.buffer) y = y + gpu.load(bias, at, n);
      y = k.let("y", y);
      gpu.where(inside, [&] { gpu.store(out.words, out.at(row, at), y); });
    });
  });
  return k.finish();
}

}  // namespace

Function lower_gpu_rms_norm(Lowering& low) { return norm(low, false); }
Function lower_gpu_layer_norm(Lowering& low) { return norm(low, true); }

Function lower_gpu_elementwise(Lowering& low) {
  GpuLowering gpu(low);
  std::vector<WordMatrix> in = {gpu.matrix(0, "x")};
  Words bias;
  if (low.node.op == "bias")
    bias = gpu.vector(1, "bias");
  else if (low.node.inputs.size() > 1)
    in.push_back(gpu.matrix(1, "y"));
  WordMatrix out = gpu.result();
  int n = out.lanes();
  for (const WordMatrix& m : in) n = std::min(n, m.lanes());
  gpu.for_row_units(out.rows, out.columns / n, [&](ExprRef row, ExprRef unit) {
    ExprRef at = low.k.let("at", unit * double(n));
    std::vector<ExprRef> values;
    for (const WordMatrix& m : in) values.push_back(low.k.let("v", gpu.load(m.words, m.at(row, at), n)));
    if (bias.buffer) values.push_back(gpu.load(bias, at, n));
    gpu.store(out.words, out.at(row, at), elementwise_value(low.node, values));
  });
  Function f = low.k.finish();
  f.in_place = in[0].row_stride == out.columns && in[0].words.stored == out.words.stored;
  return f;
}

Function lower_gpu_gated(Lowering& low) {
  GpuLowering gpu(low);
  WordMatrix x = gpu.matrix(0, "x");
  WordMatrix out = gpu.result();
  int n = std::min(x.lanes(), out.lanes());
  gpu.for_row_units(out.rows, out.columns / n, [&](ExprRef row, ExprRef unit) {
    ExprRef at = low.k.let("at", unit * double(n));
    ExprRef gate = low.k.let("gate", gpu.load(x.words, x.at(row, at), n));
    ExprRef up = gpu.load(x.words, x.at(row, at + double(out.columns)), n);
    gpu.store(out.words, out.at(row, at), apply_activation(low.node.get_string("function"), gate) * up);
  });
  return low.k.finish();
}

Function lower_gpu_slice(Lowering& low) {
  GpuLowering gpu(low);
  WordMatrix x = gpu.matrix(0, "x");
  WordMatrix out = gpu.result();
  int64_t begin = low.node.get_int("begin");
  WordMatrix part = x;
  part.column_offset += begin;
  int n = std::min(part.lanes(), out.lanes());
  gpu.for_row_units(out.rows, out.columns / n, [&](ExprRef row, ExprRef unit) {
    ExprRef at = low.k.let("at", unit * double(n));
    gpu.store(out.words, out.at(row, at), gpu.load(part.words, part.at(row, at), n));
  });
  return low.k.finish();
}

Function lower_gpu_rope(Lowering& low) {
  GpuLowering gpu(low);
  Rotation rotation = rotation_of(low.node);
  WordMatrix x = gpu.matrix(0, "x");
  WordMatrix factors = gpu.matrix(1, "factors");
  WordMatrix out = gpu.result();
  GpuRotation rotate(gpu, rotation, factors, std::min(x.lanes(), out.lanes()));
  int64_t heads = x.columns / rotation.head_dim;
  gpu.for_row_units(x.rows, heads * rotate.units(), [&](ExprRef row, ExprRef unit) {
    ExprRef head = low.k.let("head", unit / double(rotate.units()) * double(rotation.head_dim));
    rotate.unit(
        row, unit % rotate.units(),
        [&](ExprRef d, int n) { return gpu.load(x.words, x.at(row, head + d), n); },
        [&](ExprRef d, ExprRef v) { gpu.store(out.words, out.at(row, head + d), v); });
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
