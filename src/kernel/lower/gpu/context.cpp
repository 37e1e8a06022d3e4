// Operands in words, units of a row over threads, sums over a group.
#include "kernel/lower/gpu/context.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "formats/plan.h"

namespace mlc::kernel {

Operand GpuLowering::declare(const std::string& name, DType stored, const Dim& elements, bool writable) {
  const bool halves = stored == DType::kF16 || stored == DType::kBF16;
  if (!halves && stored != DType::kF32 && stored != DType::kI32 && stored != DType::kU32)
    throw UserError(str(node.op, ": elements of ", short_name(stored), " have no kernel on ", target.name,
                        ", expected f32, f16, bf16 or i32"));
  DType type = halves ? DType::kU32 : stored;
  Dim count = halves ? ceildiv(elements, 2) : elements;
  return {writable ? k.output(name, type, count) : k.input(name, type, count), stored};
}

Operand GpuLowering::state(bool writable) {
  const CachePages p = pages();
  return declare("cache", p.cache.dtype, Dim(p.slabs) * Dim::symbol(pool_pages()) * p.page_stride, writable);
}

CachePages GpuLowering::pages() const {
  const graph::PagedState& c = cache();
  const int64_t divides = std::gcd(c.key_dim, c.value_dim);
  return {c, static_cast<int>(std::gcd(divides, int64_t{16} / size_of(c.dtype))), c.page_elements(),
          node.attributes.count("layer") ? 1 : c.layers};
}

CachePages GpuLowering::chunked_pages() const {
  const CachePages p = pages();
  for (const int64_t elements : {p.cache.key_dim, p.cache.value_dim})
    if (elements % 2 != 0)
      throw UserError(str(node.op, ": heads of ", elements, " elements have no kernel on ", target.name,
                          ", expected an even number"));
  return p;
}

std::vector<ExprRef> GpuLowering::load_chunk(const Operand& from, const ExprRef& index, int chunk, int n) {
  if (!from.packed()) {
    ExprRef all = k.let("chunk", load(from, index, chunk));
    if (chunk == n) return {all};
    return {shuffle({all}, {0, 1}), shuffle({all}, {2, 3})};
  }
  const int words = chunk / 2;
  ExprRef all = k.let("chunk", k.load(from.buffer, index / 2, words));
  auto pair = [&](int i) { return unpack_pair(from.stored, words == 1 ? all : extract(all, i)); };
  std::vector<ExprRef> out;
  for (int i = 0; i < words; i += n / 2)
    out.push_back(k.let("half", n == 2 ? pair(i) : shuffle({pair(i), pair(i + 1)}, {0, 1, 2, 3})));
  return out;
}

void GpuLowering::for_units(int64_t units, int threads, const ExprRef& thread,
                            const std::function<void(ExprRef, ExprRef)>& body) {
  int64_t whole = units / threads;
  if (whole == 1) body(thread, nullptr);
  if (whole > 1)
    k.loop("step", 0, whole, LoopKind::kSerial,
           [&](ExprRef step) { body(k.let("unit", step * threads + thread), nullptr); });
  if (units % threads == 0) return;
  ExprRef unit = k.let("unit", thread + whole * threads);
  body(k.let("unit", binary(BinaryOp::kMin, unit, int_const(units - 1))),
       k.let("inside", less(unit, int_const(units))));
}

ExprRef GpuLowering::group_reduce(BinaryOp op, const ExprRef& value, const ExprRef& thread, int threads) {
  ExprRef all = k.let("lanes", subgroup(op, value));
  int count = threads / lanes;
  if (count == 1) return all;
  BufferRef parts = k.shared("parts", value->type, count);
  k.branch(binary(BinaryOp::kEq, thread % lanes, int_const(0)), [&] { k.store(parts, thread / lanes, all); });
  k.barrier();
  ExprRef sum = k.let("part", k.load(parts, int_const(0)));
  for (int i = 1; i < count; ++i) sum = k.let("part", binary(op, sum, k.load(parts, int_const(i))));
  return sum;
}

int GpuLowering::threads_for(int64_t units) const {
  int64_t wanted = (units + lanes - 1) / lanes * lanes;
  return static_cast<int>(std::min<int64_t>(wanted, std::max(schedule.row_threads, lanes)));
}

void GpuLowering::for_rows(const Dim& rows, int threads, const std::function<void(ExprRef, ExprRef)>& body) {
  bool single = single_row();
  k.groups(single ? Dim(1) : rows, threads, lanes,
           [&](ExprRef group, ExprRef thread) { body(single ? int_const(0) : group, thread); });
}

void GpuLowering::for_row_units(const Dim& rows, int64_t units,
                                const std::function<void(ExprRef, ExprRef)>& body) {
  int64_t threads = std::min<int64_t>(schedule.row_threads, (units + lanes - 1) / lanes * lanes);
  int64_t blocks = (units + threads - 1) / threads;
  bool single = single_row();
  k.groups(single ? Dim(blocks) : rows * blocks, threads, 0, [&](ExprRef group, ExprRef thread) {
    ExprRef row = single ? int_const(0) : blocks == 1 ? group : k.let("row", group / blocks);
    ExprRef block = blocks == 1 ? int_const(0) : single ? group : group % blocks;
    ExprRef unit = k.let("unit", block * threads + thread);
    where(units % threads ? less(unit, int_const(units)) : nullptr, [&] { body(row, unit); });
  });
}

void GpuLowering::for_each_unit(const Units& units) {
  const HeadUnits head_units{units.parts};
  const int64_t count = head_units.count();
  for_row_units(units.rows, units.heads * count, [&](ExprRef row, ExprRef unit) {
    if (units.enter) units.enter(row);
    if (units.heads == 1) return head_units.meet(*this, row, int_const(0), unit);
    head_units.meet(*this, row, k.let("head", unit / count * units.head_size), k.let("u", unit % count));
  });
}

void GpuLowering::for_each_row(const Operand& x, const Operand& out, const std::function<void(Row&)>& body) {
  const int n = std::min(x.lanes(), out.lanes()), threads = threads_for(x.columns / n);
  const auto meet = [&](ExprRef r, ExprRef thread) {
    GpuRow row(*this, x, r, thread, threads, n);
    body(row);
  };
  if (x.heads > 1)
    k.groups(x.rows, threads, lanes, meet);
  else
    for_rows(x.rows, threads, meet);
}

namespace {

ExprRef zero_of(Type type) { return is_float(type.dtype) ? float_const(0, type) : int_const(0, type); }

int unit_lanes(const Part& part) {
  return part.single ? 1 : static_cast<int>(std::gcd(part.elements, int64_t{part.lanes}));
}

}  // namespace

int64_t HeadUnits::count() const {
  int64_t total = 0;
  for (const Part& part : parts) total += part.elements / unit_lanes(part);
  return total;
}

void HeadUnits::meet(GpuLowering& gpu, const ExprRef& row, const ExprRef& head, const ExprRef& u) const {
  std::function<void(size_t, ExprRef)> from = [&](size_t i, ExprRef unit) {
    const Part& part = parts[i];
    const int n = unit_lanes(part);
    const int64_t count = part.elements / n;
    auto body = [&] { part.body({row, head, gpu.k.let("at", unit * n), n, nullptr}); };
    if (i + 1 == parts.size()) return body();
    gpu.k.branch(less(unit, int_const(count)), body, [&] { from(i + 1, gpu.k.let("u", unit - count)); });
  };
  from(0, u);
}

GpuRow::GpuRow(GpuLowering& gpu, const Operand& x, const ExprRef& row, const ExprRef& its_thread, int count,
               int lanes)
    : Row(row), thread(its_thread), threads(count), n(lanes), gpu_(gpu), x_(x) {
  const int64_t total = units();
  if ((total + threads - 1) / threads > gpu.schedule.kept_vectors) return;
  for (int64_t done = 0; done < total; done += threads) {
    ExprRef unit = gpu.k.let("unit", thread + done);
    bool all = done + threads <= total;
    inside_.push_back(all ? nullptr : gpu.k.let("inside", less(unit, int_const(total))));
    units_.push_back(all ? unit : gpu.k.let("unit", binary(BinaryOp::kMin, unit, int_const(total - 1))));
    kept_.push_back(gpu.k.let("x", load(units_.back())));
  }
}

void GpuRow::for_each(const std::function<void(ExprRef, ExprRef, ExprRef)>& body) {
  for (size_t i = 0; i < kept_.size(); ++i) body(units_[i] * n, kept_[i], inside_[i]);
  if (!kept_.empty()) return;
  gpu_.for_units(units(), threads, thread,
                 [&](ExprRef unit, ExprRef inside) { body(unit * n, gpu_.k.let("x", load(unit)), inside); });
}

ExprRef GpuRow::reduce_own(BinaryOp op, const ExprRef& first,
                           const std::function<ExprRef(const ExprRef&)>& term) {
  KernelBuilder& k = gpu_.k;
  BufferRef total = k.registers("total", first->type, 1);
  k.store(total, int_const(0), first);
  for_each([&](ExprRef, ExprRef v, ExprRef inside) {
    ExprRef own = term(v);  // what a vector outside gives is in the row already: a maximum may meet it again
    if (inside && op == BinaryOp::kAdd) own = select(inside, own, zero_of(own->type));
    k.store(total, int_const(0), binary(op, k.load(total, int_const(0)), own));
  });
  return k.let("own", k.load(total, int_const(0)));
}

ExprRef GpuRow::reduce(const std::string& name, BinaryOp op, const ExprRef& first,
                       const std::function<ExprRef(const ExprRef&)>& term) {
  KernelBuilder& k = gpu_.k;
  ExprRef own = k.let("own", reduce_lanes(k, op, reduce_own(op, broadcast(first, n), term)));
  return k.let(name, gpu_.group_reduce(op, own, thread, threads));
}

void GpuRow::store(const Operand& out, const Value& value) {
  for_each([&](ExprRef at, ExprRef v, ExprRef inside) {
    const Unit u{index, int_const(0), at, n, nullptr};
    ExprRef y = gpu_.k.let("y", value(u, v));
    gpu_.where(inside, [&] { gpu_.store(out, u, y); });
  });
}

std::vector<ExprRef> lanes_of(KernelBuilder& k, const ExprRef& vector) {
  if (vector->type.lanes == 1) return {vector};
  ExprRef v = k.let("v", vector);
  std::vector<ExprRef> out;
  for (int i = 0; i < v->type.lanes; ++i) out.push_back(extract(v, i));
  return out;
}

ExprRef reduce_lanes(KernelBuilder& k, BinaryOp op, const ExprRef& vector) {
  std::vector<ExprRef> v = lanes_of(k, vector);
  for (size_t half = v.size() / 2; half >= 1; half /= 2)
    for (size_t i = 0; i < half; ++i) v[i] = binary(op, v[i], v[i + half]);
  return v[0];
}

ExprRef add_sink(const ExprRef& total, const ExprRef& largest, const ExprRef& sink) {
  return total + call(MathFn::kExp, binary(BinaryOp::kMin, sink - largest, float_const(80)));
}

}  // namespace mlc::kernel
