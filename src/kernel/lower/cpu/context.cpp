// Operands, rows and sums.
#include "kernel/lower/cpu/context.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "formats/plan.h"
#include "kernel/lower/cpu/cache.h"

namespace mlc::kernel {
int CpuLowering::lanes_dividing(int64_t n) const {
  int count = lanes();
  while (n % count != 0) count /= 2;
  return count;
}

Matrix CpuLowering::matrix(size_t i, const std::string& name) {
  const graph::TensorType& t = type(i);
  const View at = view(i);
  Matrix m{nullptr, rows_of(t), t.shape.back().constant(), at.row_stride, at.column_offset};
  if (t.kind == graph::TensorType::Kind::kQ8Activation) {
    m.q8 = t.format;
    m.buffer = k.input(name, DType::kU8, t.bytes());
  } else if ((m.tiled = t.is_tiled())) {
    m.buffer = k.input(name, t.dtype(), t.elements());
  } else {
    m.buffer = k.input(name, t.dtype(), m.rows * at.row_stride);
  }
  return m;
}

BufferRef CpuLowering::vector(size_t i, const std::string& name) {
  return k.input(name, type(i).dtype(), elements_of(type(i).shape));
}

Matrix CpuLowering::result(size_t i, const std::string& name) {
  const graph::TensorType& t = node.outputs[i]->type;
  int64_t columns = t.shape[1].constant();
  if (t.kind == graph::TensorType::Kind::kQ8Activation)
    return {k.output(name, DType::kU8, t.bytes()), t.shape[0], columns, columns, 0, false, t.format};
  if (t.is_tiled()) return {k.output(name, t.dtype(), t.elements()), t.shape[0], columns, columns, 0, true};
  return {k.output(name, t.dtype(), t.shape[0] * columns), t.shape[0], columns, columns, 0};
}

BufferRef CpuLowering::state(bool writable) {
  const graph::KvCache& c = cache();
  DType dtype = is_coded(c) ? DType::kU8 : c.dtype;
  int64_t earlier_layers =
      node.attributes.count("layer") ? c.layers - 1 : 0;  // the call's layer may be the last
  Dim size = Dim::symbol(kPoolPages) * page_stride(c) + Dim(-earlier_layers * layer_stride(c));
  return writable ? k.output("cache", dtype, size) : k.input("cache", dtype, size);
}

ExprRef CpuLowering::load_f32(const BufferRef& buffer, ExprRef index, int lanes, ExprRef mask) {
  return cast(k.load(buffer, std::move(index), lanes, std::move(mask)), DType::kF32);
}

void CpuLowering::store_f32(const BufferRef& buffer, ExprRef index, ExprRef value, ExprRef mask) {
  k.store(buffer, std::move(index), cast(std::move(value), buffer->element.dtype), std::move(mask));
}

void CpuLowering::for_each_row(const Dim& rows, const KernelBuilder::Body& body) {
  if (single_row())
    k.grid("tile", 1, [&](ExprRef) { body(int_const(0)); });
  else
    k.grid("row", rows, body);
}

ExprRef CpuLowering::sum_over(const std::string& name, int64_t n,
                              const std::function<ExprRef(ExprRef, int)>& term) {
  int wide = lanes();
  constexpr int kChains = 4;  // independent sums hide the latency of an add
  BufferRef sums = k.registers(name, {DType::kF32, wide}, kChains);
  BufferRef single = k.registers(name + "_rest", {DType::kF32, 1}, 1);
  auto add = [&](const BufferRef& to, int64_t at, ExprRef value) {
    k.store(to, int_const(at), k.load(to, int_const(at)) + value);
  };
  for (int c = 0; c < kChains; ++c) k.store(sums, int_const(c), float_const(0, {DType::kF32, wide}));
  k.store(single, int_const(0), float_const(0));
  int64_t blocks = n / (wide * kChains), done = blocks * wide * kChains;
  k.loop("i", 0, blocks, LoopKind::kSerial, [&](ExprRef i) {
    for (int c = 0; c < kChains; ++c) add(sums, c, term(i * double(wide * kChains) + double(c * wide), wide));
  });
  for (; done + wide <= n; done += wide) add(sums, 0, term(int_const(done), wide));
  k.loop("i", done, n - done, LoopKind::kSerial, [&](ExprRef i) { add(single, 0, term(i, 1)); });
  auto sum = [&](int c) { return k.load(sums, int_const(c)); };
  ExprRef total = reduce(BinaryOp::kAdd, (sum(0) + sum(1)) + (sum(2) + sum(3)));
  return k.let(name + "_total", total + k.load(single, int_const(0)));
}

}  // namespace mlc::kernel
