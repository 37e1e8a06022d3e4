// map, cast, slice, and take of a plain table: elements of a row that need only elements of its operands.
#include <algorithm>

#include "kernel/lower/lowerings.h"
#include "kernel/lower/region.h"
#include "kernel/lower/take.h"

namespace mlc::kernel {

Function lower_map(Lowering& low) {
  Operand x = low.matrix(0, "x"), up = x;
  LoweredRegion region(low, low.node.outputs[0]->type.shape[1].constant());
  Operand out = low.result();
  const bool halves = region.accumulators() == 2;
  if (halves) up.column_offset += out.columns;
  auto body = [&](const Unit& u) {
    std::vector<ExprRef> computed = {low.k.let("v", low.load(x, u))};
    if (halves) computed.push_back(low.k.let("up", low.load(up, u)));
    low.store(out, u, region.apply(u, computed));
  };
  const int lanes = std::min({x.lanes(), up.lanes(), region.lanes(), out.lanes()});
  low.for_each_unit({.rows = out.rows, .parts = {{out.columns, lanes, false, body}}});
  Function f = low.k.finish();
  f.in_place = x.row_stride == out.columns;
  return f;
}

namespace {

// Columns of x from `first` on; the store rounds them.
Function copy_columns(Lowering& low, int64_t first) {
  Operand x = low.matrix(0, "x"), out = low.result();
  const bool whole = x.row_stride == out.columns;
  x.column_offset += first;
  auto body = [&](const Unit& u) { low.store(out, u, low.load(x, u)); };
  low.for_each_unit(
      {.rows = out.rows, .parts = {{out.columns, std::min(x.lanes(), out.lanes()), false, body}}});
  Function f = low.k.finish();
  f.in_place = whole && x.stored == out.stored;
  return f;
}

}  // namespace

Function lower_cast(Lowering& low) { return copy_columns(low, 0); }
Function lower_slice(Lowering& low) { return copy_columns(low, low.node.get_int("begin")); }

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
