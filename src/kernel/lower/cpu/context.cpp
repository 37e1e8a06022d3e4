// Operands, rows and their reductions.
#include "kernel/lower/cpu/context.h"

#include "base/check.h"
#include "base/strings.h"
#include "formats/plan.h"
#include "kernel/lower/cpu/quantize.h"

namespace mlc::kernel {
namespace {

class CpuRow final : public Row {
 public:
  CpuRow(CpuLowering& low, const Operand& x, const ExprRef& row) : Row(row), low_(low), x_(x) {}

  // In vector lanes, with one reduction across them at the end; then the rest singly.
  ExprRef reduce(const std::string& name, BinaryOp op, const ExprRef& first,
                 const std::function<ExprRef(const ExprRef&)>& term) override {
    constexpr int kChains = 4;  // independent sums hide the latency of an add
    KernelBuilder& k = low_.k;
    const int wide = low_.lanes();
    BufferRef sums = k.registers(name, {DType::kF32, wide}, kChains);
    BufferRef single = k.registers(name + "_rest", {DType::kF32, 1}, 1);
    auto meet = [&](const BufferRef& to, int64_t at, const ExprRef& column, int lanes) {
      ExprRef value = term(k.let("v", low_.load(x_, x_.at(index, column), lanes)));
      k.store(to, int_const(at), binary(op, k.load(to, int_const(at)), value));
    };
    for (int c = 0; c < kChains; ++c) k.store(sums, int_const(c), broadcast(first, wide));
    k.store(single, int_const(0), first);
    int64_t n = x_.columns, blocks = n / (wide * kChains), done = blocks * wide * kChains;
    k.loop("i", 0, blocks, LoopKind::kSerial, [&](ExprRef i) {
      for (int c = 0; c < kChains; ++c) meet(sums, c, i * (wide * kChains) + c * wide, wide);
    });
    for (; done + wide <= n; done += wide) meet(sums, 0, int_const(done), wide);
    k.loop("i", done, n - done, LoopKind::kSerial, [&](ExprRef i) { meet(single, 0, i, 1); });
    auto sum = [&](int c) { return k.load(sums, int_const(c)); };
    ExprRef all = binary(op, binary(op, sum(0), sum(1)), binary(op, sum(2), sum(3)));
    return k.let(name + "_total", binary(op, mlc::kernel::reduce(op, all), k.load(single, int_const(0))));
  }

  // The row is still in cache.
  void store(const Operand& out, const Value& value) override {
    store_row(low_, out, index, [&](const Unit& u) { return value(u, low_.load(x_, u)); });
  }

 private:
  CpuLowering& low_;
  const Operand& x_;
};

}  // namespace

int CpuLowering::lanes_dividing(int64_t n) const {
  int count = lanes();
  while (n % count != 0) count /= 2;
  return count;
}

Operand CpuLowering::declare(const std::string& name, DType stored, const Dim& elements, bool writable) {
  return {writable ? k.output(name, stored, elements) : k.input(name, stored, elements), stored};
}

Operand CpuLowering::state(bool writable) {
  const graph::PagedState& c = cache();
  const int64_t layer = pages().page_stride / c.layers;
  // The call's layer may be the last.
  const int64_t earlier_layers = node.attributes.count("layer") ? c.layers - 1 : 0;
  Dim size = Dim::symbol(pool_pages()) * pages().page_stride + Dim(-earlier_layers * layer);
  return declare("cache", is_coded(c) ? DType::kU8 : c.dtype, size, writable);
}

CachePages CpuLowering::pages() const {
  const graph::PagedState& c = cache();
  const int64_t bytes = page_bytes(c);
  const int chunk = c.latent ? static_cast<int>(c.key_dim) : 1;
  return {.cache = c, .chunk = chunk, .page_stride = c.layers * (bytes / size_of(c.dtype))};
}

void CpuLowering::for_rows(const Dim& rows, const KernelBuilder::Body& body) {
  if (single_row())
    k.grid("tile", 1, [&](ExprRef) { body(int_const(0)); });
  else
    k.grid("row", rows, body);
}

void CpuLowering::for_each_part(const std::vector<Part>& parts, const ExprRef& row, const ExprRef& head) {
  for (const Part& part : parts)
    k.vector_loop("i", int_const(part.elements), part.single ? 1 : lanes(),
                  [&](ExprRef i, int n) { part.body({row, head, i, n, nullptr}); });
}

void CpuLowering::for_each_unit(const Units& units) {
  if (units.apart) {
    const bool single = single_row();
    k.grid("tile", single ? Dim(units.heads) : units.rows * units.heads, [&](ExprRef tile) {
      ExprRef row = single ? int_const(0) : k.let("row", tile / units.heads);
      if (units.enter) units.enter(row);
      ExprRef head = single ? tile : tile % units.heads;
      for_each_part(units.parts, row, k.let("head", head * units.head_size));
    });
    return;
  }
  for_rows(units.rows, [&](ExprRef row) {
    if (units.enter) units.enter(row);
    if (units.heads == 1) return for_each_part(units.parts, row, int_const(0));
    k.loop("head", 0, units.heads, LoopKind::kSerial,
           [&](ExprRef h) { for_each_part(units.parts, row, k.let("head", h * units.head_size)); });
  });
}

void CpuLowering::for_each_row(const Operand& x, const Operand& out, const std::function<void(Row&)>& body) {
  const auto meet = [&](ExprRef r) {
    CpuRow row(*this, x, r);
    body(row);
  };
  if (x.heads > 1)
    k.grid("row", x.rows, meet);
  else
    for_rows(out.rows, meet);
}

}  // namespace mlc::kernel
