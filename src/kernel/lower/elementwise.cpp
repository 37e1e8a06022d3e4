// add, mul, scale, bias, activation, cast, gated, slice, and take of a plain table: elements of a row that
// need only elements of its operands.
#include <algorithm>

#include "kernel/lower/lowerings.h"
#include "kernel/lower/take.h"

namespace mlc::kernel {

Function lower_elementwise(Lowering& low) {
  std::vector<Operand> in;
  for (size_t i = 0; i < low.node.inputs.size(); ++i)
    in.push_back(low.type(i).shape.size() == 1 ? low.vector(i, "bias") : low.matrix(i, i == 0 ? "x" : "y"));
  Operand out = low.result();
  int lanes = out.lanes();
  for (const Operand& x : in) lanes = std::min(lanes, x.lanes());
  auto body = [&](const Unit& u) {
    std::vector<ExprRef> values;
    for (const Operand& x : in) values.push_back(low.k.let("v", low.load(x, u)));
    low.store(out, u, elementwise_value(low.node, values));
  };
  low.for_each_unit({.rows = out.rows, .parts = {{out.columns, lanes, false, body}}});
  Function f = low.k.finish();
  f.in_place = in[0].row_stride == out.columns && in[0].stored == out.stored;
  return f;
}

Function lower_gated(Lowering& low) {
  Operand gate = low.matrix(0, "x"), up = gate, out = low.result();
  up.column_offset += out.columns;
  auto body = [&](const Unit& u) {
    ExprRef g = low.k.let("gate", low.load(gate, u));
    low.store(out, u, apply_activation(low.node.get_string("function"), g) * low.load(up, u));
  };
  const int lanes = std::min({gate.lanes(), up.lanes(), out.lanes()});
  low.for_each_unit({.rows = out.rows, .parts = {{out.columns, lanes, false, body}}});
  return low.k.finish();
}

Function lower_slice(Lowering& low) {
  Operand x = low.matrix(0, "x"), out = low.result();
  x.column_offset += low.node.get_int("begin");
  auto body = [&](const Unit& u) { low.store(out, u, low.load(x, u)); };
  low.for_each_unit(
      {.rows = out.rows, .parts = {{out.columns, std::min(x.lanes(), out.lanes()), false, body}}});
  return low.k.finish();
}

TableIndex::TableIndex(Lowering& l) : low(l), indices(l.vector(1, "indices")) {}

void TableIndex::enter(const ExprRef& row) {
  index = low.k.let("index", low.load_index(indices, row));
  if (!low.node.attributes.count(kPieceAttribute)) return;
  index = low.k.let("local", index - low.node.get_int(kPieceAttribute));
  inside = binary(BinaryOp::kAnd, binary(BinaryOp::kGe, index, int_const(0)),
                  less(index, dim_expr(low.type(0).shape[0])));
}

Function take_plain(Lowering& low) {
  Operand table = low.matrix(0, "table");
  TableIndex at(low);
  Operand out = low.result();
  auto body = [&](const Unit& u) {
    low.where(at.inside, [&] { low.store(out, u, low.load(table, table.at(at.index, u.at), u.lanes)); });
  };
  low.for_each_unit({.rows = out.rows,
                     .parts = {{out.columns, std::min(table.lanes(), out.lanes()), false, body}},
                     .enter = [&](const ExprRef& row) { at.enter(row); }});
  return low.k.finish();
}

}  // namespace mlc::kernel
