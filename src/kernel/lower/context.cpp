// The node's operands in memory.
#include "kernel/lower/context.h"

#include <numeric>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "formats/plan.h"

namespace mlc::kernel {

ExprRef Operand::tile_at(const ExprRef& row, const ExprRef& group) const {
  constexpr int64_t kRows = graph::kTileRows, kColumns = graph::kTileColumns;
  const int64_t groups = (columns + kColumns - 1) / kColumns;
  return ((row / kRows * groups + group) * kRows + row % kRows) * kColumns;
}

int Operand::lanes() const {
  if (buffer->scope == Scope::kShared) return buffer->element.lanes;
  return static_cast<int>(std::gcd(std::gcd(columns, row_stride), std::gcd(column_offset, int64_t{4})));
}

void Lowering::split_heads(Operand& matrix, int64_t columns) const {
  matrix.heads = matrix.columns / columns;
  matrix.columns = columns;
  matrix.rows = (single_row() ? Dim(1) : matrix.rows) * Dim(matrix.heads);
}

Dim elements_of(const graph::Shape& shape) {
  Dim total(1);
  for (const Dim& d : shape) total = total * d;
  return total;
}

Dim rows_of(const graph::TensorType& type) { return elements_of({type.shape.begin(), type.shape.end() - 1}); }

View Lowering::view(size_t i, const graph::TensorType& t) const {
  internal_check(t.shape.size() >= 2 && t.shape.back().is_const(), node.op, ": operand ", i, " is no matrix");
  if (i < options.input_views.size() && options.input_views[i].row_stride) return options.input_views[i];
  return {t.shape.back().constant(), 0};
}

const graph::PagedState& Lowering::cache() const {
  const graph::PagedState* found = module.find_state(node.state);
  internal_check(found != nullptr, node.op, ": no state named ", node.state);
  return *found;
}

const graph::SlotState& Lowering::slot_state() const {
  const graph::SlotState* found = module.find_slot_state(node.state);
  internal_check(found != nullptr, node.op, ": no slots named ", node.state);
  return *found;
}

Operand Lowering::slots() {
  const graph::SlotState& s = slot_state();
  const Dim count = Dim::symbol(kPoolSlots) * Dim(node.attributes.count("layer") ? 1 : s.layers);
  Operand slots = declare("slots", DType::kF32, count * s.slot_elements(), true);
  slots.rows = count, slots.columns = slots.row_stride = s.slot_elements();
  return slots;
}

std::string Lowering::pool_pages() const { return of_group(kPoolPages, module.group_of(cache())); }

Operand Lowering::declare_matrix(const graph::TensorType& t, const View& at, const std::string& name,
                                 bool writable) {
  const bool q8 = t.kind == graph::TensorType::Kind::kQ8Activation;
  internal_check(q8 || t.kind == graph::TensorType::Kind::kPlain, node.op, ": no plain matrix ", t.text());
  Dim count = q8 ? t.bytes() : t.is_tiled() ? t.elements() : rows_of(t) * at.row_stride;
  Operand m = declare(name, q8 ? DType::kU8 : t.dtype(), count, writable);
  m.rows = rows_of(t), m.columns = t.shape.back().constant();
  m.row_stride = at.row_stride, m.column_offset = at.column_offset;
  m.tiled = t.is_tiled();
  if (q8) m.q8 = t.format;
  return m;
}

Operand Lowering::matrix(size_t i, const std::string& name) {
  return declare_matrix(type(i), view(i, type(i)), name, false);
}

Operand Lowering::region_matrix(size_t i, const std::string& name) {
  const graph::TensorType& t = node.region.operands[i]->type;
  return declare_matrix(t, view(node.inputs.size() + i, t), name, false);
}

Operand Lowering::vector(const graph::TensorType& t, const std::string& name) {
  Operand v = declare(name, t.dtype(), elements_of(t.shape), false);
  v.rows = Dim(1);
  if (rows_of(t) == Dim(1) && t.shape.back().is_const()) v.columns = t.shape.back().constant();
  return v;
}

Operand Lowering::result(size_t i, const std::string& name) {
  const graph::TensorType& t = node.outputs[i]->type;
  return declare_matrix(t, {t.shape[1].constant(), 0}, name, true);
}

ExprRef Lowering::load(const Operand& from, const ExprRef& index, int n, const ExprRef& mask) {
  if (from.shared_vectors()) return k.load(from.buffer, index / n);
  if (!from.packed()) return cast(k.load(from.buffer, index, n, mask), DType::kF32);
  if (n == 1) {
    ExprRef pair = k.let("pair", unpack_pair(from.stored, k.let("word", k.load(from.buffer, index / 2))));
    return select(binary(BinaryOp::kEq, index % 2, int_const(0)), extract(pair, 0), extract(pair, 1));
  }
  ExprRef words = k.let("words", k.load(from.buffer, index / 2, n / 2));
  if (n == 2) return unpack_pair(from.stored, words);
  return shuffle({unpack_pair(from.stored, extract(words, 0)), unpack_pair(from.stored, extract(words, 1))},
                 {0, 1, 2, 3});
}

void Lowering::store(const Operand& to, const ExprRef& index, const ExprRef& value, const ExprRef& mask) {
  if (to.shared_vectors()) return k.store(to.buffer, index / value->type.lanes, value);
  if (!to.packed()) return k.store(to.buffer, index, cast(value, to.buffer->element.dtype), mask);
  int n = value->type.lanes;
  if (n == 1)
    throw UserError(str(node.op, ": a result of ", short_name(to.stored),
                        " needs an even number of columns on ", target.name));
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
      ExprRef up = binary(BinaryOp::kShr, bits + (odd + 32767), int_const(16));
      ExprRef is_nan = binary(BinaryOp::kNe, extract(v, lane), extract(v, lane));
      return k.let("rounded", select(is_nan, int_const(0x7FC0, {DType::kU32, 1}), up));
    };
    packed.push_back(
        binary(BinaryOp::kOr, rounded(i), binary(BinaryOp::kShl, rounded(i + 1), int_const(16))));
  }
  k.store(to.buffer, index / 2, vector_of(packed));
}

void Lowering::where(const ExprRef& inside, const std::function<void()>& body) {
  if (inside)
    k.branch(inside, body);
  else
    body();
}

ExprRef unpack_pair(DType stored, const ExprRef& word) {
  if (stored == DType::kF16) return unpack_half(word);
  ExprRef low_half = bitcast(binary(BinaryOp::kShl, word, int_const(16)), {DType::kF32, 1});
  ExprRef high_half = bitcast(binary(BinaryOp::kAnd, word, int_const(0xFFFF0000)), {DType::kF32, 1});
  return shuffle({low_half, high_half}, {0, 1});
}

ExprRef vector_of(const std::vector<ExprRef>& lanes) {
  if (lanes.size() == 1) return lanes[0];
  std::vector<int> pattern(lanes.size());
  std::iota(pattern.begin(), pattern.end(), 0);
  return shuffle(lanes, pattern);
}

}  // namespace mlc::kernel
