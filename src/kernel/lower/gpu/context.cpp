// Operands in words, runs of elements over threads, sums over a group.
#include "kernel/lower/gpu/context.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "formats/plan.h"

namespace mlc::kernel {
namespace {

Type buffer_type(DType stored) {
  if (stored == DType::kF16 || stored == DType::kBF16) return {DType::kU32, 1};
  return {stored, 1};
}

}  // namespace

int WordMatrix::lanes() const {
  int64_t common = std::gcd(std::gcd(columns, row_stride), std::gcd(column_offset, int64_t{4}));
  return static_cast<int>(common);
}

Words GpuLowering::words(const std::string& name, DType stored, const Dim& elements, bool writable) {
  bool known = stored == DType::kF32 || stored == DType::kI32 || stored == DType::kU32 ||
               stored == DType::kF16 || stored == DType::kBF16;
  if (!known)
    throw UserError(str(low.node.op, ": elements of ", short_name(stored), " have no kernel on ",
                        low.target.name, ", expected f32, f16, bf16 or i32"));
  Type type = buffer_type(stored);
  Dim count = size_of(stored) == 2 ? ceildiv(elements, 2) : elements;
  return {writable ? k.output(name, type.dtype, count) : k.input(name, type.dtype, count), stored};
}

WordMatrix GpuLowering::matrix(size_t i, const std::string& name) {
  const graph::TensorType& t = low.type(i);
  internal_check(t.kind == graph::TensorType::Kind::kPlain,
                 str(low.node.op, ": operand ", i, " is no plain matrix"));
  const View at = low.view(i);
  return {words(name, t.dtype(), rows_of(t) * at.row_stride, false), rows_of(t), t.shape.back().constant(),
          at.row_stride, at.column_offset};
}

Words GpuLowering::vector(size_t i, const std::string& name) {
  return words(name, low.type(i).dtype(), elements_of(low.type(i).shape), false);
}

WordMatrix GpuLowering::result(size_t i, const std::string& name) {
  const graph::TensorType& t = low.node.outputs[i]->type;
  internal_check(t.kind == graph::TensorType::Kind::kPlain,
                 str(low.node.op, ": a quantized result on ", low.target.name));
  int64_t columns = t.shape[1].constant();
  return {words(name, t.dtype(), t.shape[0] * columns, true), t.shape[0], columns, columns, 0};
}

Words GpuLowering::state(bool writable, int64_t layers) {
  const graph::KvCache& c = low.cache();
  return words("cache", c.dtype, Dim(layers) * Dim::symbol(kPoolPages) * c.page_elements(), writable);
}

ExprRef GpuLowering::load(const Words& from, const ExprRef& index, int n) {
  if (!from.packed()) return cast(k.load(from.buffer, index, n), DType::kF32);
  if (n == 1) {
    ExprRef pair = k.let("pair", unpack_pair(from.stored, k.let("word", k.load(from.buffer, index / 2.0))));
    return select(binary(BinaryOp::kEq, index % 2, int_const(0)), extract(pair, 0), extract(pair, 1));
  }
  ExprRef words = k.let("words", k.load(from.buffer, index / 2.0, n / 2));
  if (n == 2) return unpack_pair(from.stored, words);
  return shuffle({unpack_pair(from.stored, extract(words, 0)), unpack_pair(from.stored, extract(words, 1))},
                 {0, 1, 2, 3});
}

std::vector<ExprRef> GpuLowering::load_chunk(const Words& from, const ExprRef& index) {
  if (!from.packed()) return {k.let("chunk", load(from, index, 4))};
  ExprRef words = k.let("chunk", k.load(from.buffer, index / 2.0, 4));
  std::vector<ExprRef> out;
  for (int i = 0; i < 4; i += 2)
    out.push_back(k.let("half", shuffle({unpack_pair(from.stored, extract(words, i)),
                                         unpack_pair(from.stored, extract(words, i + 1))},
                                        {0, 1, 2, 3})));
  return out;
}

ExprRef GpuLowering::load_index(const Words& from, const ExprRef& index) {
  return cast(k.load(from.buffer, index), DType::kI64);
}

void GpuLowering::store(const Words& to, const ExprRef& index, const ExprRef& value) {
  if (!to.packed()) return k.store(to.buffer, index, cast(value, to.stored));
  int n = value->type.lanes;
  if (n == 1)
    throw UserError(str(low.node.op, ": a result of ", short_name(to.stored),
                        " needs an even number of columns on ", low.target.name));
  ExprRef v = k.let("stored", value);
  std::vector<ExprRef> packed;
  for (int i = 0; i < n; i += 2) {
    if (to.stored == DType::kF16) {
      packed.push_back(pack_half(n == 2 ? v : shuffle({v}, {i, i + 1})));
      continue;
    }
    auto rounded = [&](int lane) {  // to even: add half of the last place, less one where the kept bit is 0
      ExprRef bits = k.let("bits", bitcast(extract(v, lane), {DType::kU32, 1}));
      ExprRef odd = binary(BinaryOp::kAnd, binary(BinaryOp::kShr, bits, int_const(16)), int_const(1));
      ExprRef up = binary(BinaryOp::kShr, bits + (odd + 32767.0), int_const(16));
      ExprRef is_nan = binary(BinaryOp::kNe, extract(v, lane), extract(v, lane));
      return k.let("rounded", select(is_nan, int_const(0x7FC0, {DType::kU32, 1}), up));
    };
    packed.push_back(
        binary(BinaryOp::kOr, rounded(i), binary(BinaryOp::kShl, rounded(i + 1), int_const(16))));
  }
  k.store(to.buffer, index / 2.0, vector_of(packed));
}

void GpuLowering::where(const ExprRef& inside, const std::function<void()>& body) {
  if (inside)
    k.branch(inside, body);
  else
    body();
}

void GpuLowering::for_units(int64_t units, int threads, const ExprRef& thread,
                            const std::function<void(ExprRef, ExprRef)>& body) {
  int64_t whole = units / threads;
  if (whole == 1) body(thread, nullptr);
  if (whole > 1)
    k.loop("step", 0, whole, LoopKind::kSerial,
           [&](ExprRef step) { body(k.let("unit", step * double(threads) + thread), nullptr); });
  if (units % threads == 0) return;
  ExprRef unit = k.let("unit", thread + double(whole * threads));
  body(k.let("unit", binary(BinaryOp::kMin, unit, int_const(units - 1))),
       k.let("inside", less(unit, int_const(units))));
}

ExprRef GpuLowering::group_reduce(BinaryOp op, const ExprRef& value, const ExprRef& thread, int threads) {
  ExprRef all = k.let("lanes", subgroup(op, value));
  int count = threads / lanes;
  if (count == 1) return all;
  BufferRef parts = k.shared("parts", value->type, count);
  k.branch(binary(BinaryOp::kEq, thread % lanes, int_const(0)),
           [&] { k.store(parts, thread / double(lanes), all); });
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
  bool single = low.single_row();
  k.groups(single ? Dim(1) : rows, threads, lanes,
           [&](ExprRef group, ExprRef thread) { body(single ? int_const(0) : group, thread); });
}

void GpuLowering::for_row_units(const Dim& rows, int64_t units,
                                const std::function<void(ExprRef, ExprRef)>& body) {
  int64_t threads = std::min<int64_t>(schedule.row_threads, (units + lanes - 1) / lanes * lanes);
  int64_t blocks = (units + threads - 1) / threads;
  bool single = low.single_row();
  k.groups(single ? Dim(blocks) : rows * blocks, threads, 0, [&](ExprRef group, ExprRef thread) {
    ExprRef row = single ? int_const(0) : blocks == 1 ? group : k.let("row", group / double(blocks));
    ExprRef block = blocks == 1 ? int_const(0) : single ? group : group % blocks;
    ExprRef unit = k.let("unit", block * double(threads) + thread);
    where(units % threads ? less(unit, int_const(units)) : nullptr, [&] { body(row, unit); });
  });
}

ExprRef unpack_pair(DType stored, const ExprRef& word) {
  if (stored == DType::kF16) return unpack_half(word);
  ExprRef low_half = bitcast(binary(BinaryOp::kShl, word, int_const(16)), {DType::kF32, 1});
  ExprRef high_half = bitcast(binary(BinaryOp::kAnd, word, int_const(0xFFFF0000)), {DType::kF32, 1});
  return shuffle({low_half, high_half}, {0, 1});
}

std::vector<ExprRef> lanes_of(KernelBuilder& k, const ExprRef& vector) {
  if (vector->type.lanes == 1) return {vector};
  ExprRef v = k.let("v", vector);
  std::vector<ExprRef> out;
  for (int i = 0; i < v->type.lanes; ++i) out.push_back(extract(v, i));
  return out;
}

ExprRef sum_lanes(KernelBuilder& k, const ExprRef& vector) {
  std::vector<ExprRef> v = lanes_of(k, vector);
  for (size_t half = v.size() / 2; half >= 1; half /= 2)
    for (size_t i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return v[0];
}

ExprRef vector_of(const std::vector<ExprRef>& lanes) {
  if (lanes.size() == 1) return lanes[0];
  std::vector<int> pattern(lanes.size());
  std::iota(pattern.begin(), pattern.end(), 0);
  return shuffle(lanes, pattern);
}

}  // namespace mlc::kernel
