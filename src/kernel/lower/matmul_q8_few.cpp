// The int8 matmul for a few activation rows: weights pass once, as for one row. A group's codes are unpacked once into
// registers and meet all rows, some at once; the rows' sums lie in L1.
#include <algorithm>

#include "kernel/lower/matmul_q8.h"

namespace mlc::kernel {
namespace {

struct FewRows {
  Q8Matmul& mm;
  BufferRef sums = nullptr;  // shared f32 [row][half][lanes]

  ExprRef slot(const ExprRef& row, int m, int half) const {
    double per_row = double(mm.halves() * mm.lanes);
    return row * per_row + (double(m) * per_row + double(half * mm.lanes));
  }

  // Rows [first, first + count) meet the weights of a group, kept in registers: one step of all, then the next.
  void meet(const std::vector<ExprRef>& w, const ExprRef& scale, int half, const ExprRef& g, const ExprRef& first,
            int count) {
    KernelBuilder& k = mm.k;
    Q8Matmul::Group at = mm.activation_group(QuantizedRow(mm.x, first), g);
    ExprRef sums_at = k.let("sums_at", slot(first, 0, half));
    std::vector<ExprRef> dots;
    for (int m = 0; m < count; ++m)
      dots.push_back(mm.begin(mm.starts_first() ? k.let("start", mm.activation_start(at, m)) : nullptr));
    for (int s = 0; s < kSteps; ++s)
      for (int m = 0; m < count; ++m) {
        ExprRef& dot = dots[static_cast<size_t>(m)];
        dot = mm.step(dot, w[static_cast<size_t>(s)], mm.activation(at, m, s));
      }
    for (int m = 0; m < count; ++m) {
      ExprRef total = mm.finish(dots[static_cast<size_t>(m)], mm.activation_start(at, m));
      ExprRef to = sums_at + double(m * mm.halves() * mm.lanes);
      k.store(sums, to, fma(total, scale * mm.activation_scale(at, m), k.load(sums, to, mm.lanes)));
    }
  }

  void vector(const ExprRef& column) {
    KernelBuilder& k = mm.k;
    ExprRef rows = dim_expr(mm.x.rows);
    int at_once = mm.schedule.few_rows;
    ExprRef blocks = k.let("blocks", rows / double(at_once)), done = k.let("done", blocks * double(at_once));
    k.loop("row", int_const(0), rows, LoopKind::kSerial, [&](ExprRef row) {
      for (int h = 0; h < mm.halves(); ++h) k.store(sums, slot(row, 0, h), float_const(0, {DType::kF32, mm.lanes}));
    });
    k.loop("group", 0, mm.groups(), LoopKind::kSerial, [&](ExprRef g) {
      for (int h = 0; h < mm.halves(); ++h) {
        ExprRef first = mm.weight_row(column, h);
        mm.prefetch(first, g);
        std::vector<ExprRef> w = mm.unpack(first, g);
        ExprRef scale = k.let("scale", mm.weight.scales(first, g, mm.lanes));
        k.loop("block", int_const(0), blocks, LoopKind::kSerial,
               [&](ExprRef b) { meet(w, scale, h, g, k.let("m", b * double(at_once)), at_once); });
        k.loop("row", done, rows - done, LoopKind::kSerial, [&](ExprRef row) { meet(w, scale, h, g, row, 1); });
      }
    });
    k.loop("row", int_const(0), rows, LoopKind::kSerial, [&](ExprRef row) {
      std::vector<ExprRef> values;
      for (int h = 0; h < mm.halves(); ++h) values.push_back(k.let("y", k.load(sums, slot(row, 0, h), mm.lanes)));
      mm.store(row, column, values);
    });
  }
};

}  // namespace

void matmul_few_rows(Q8Matmul& mm) {
  mm.k.grid("tile", mm.vectors, [&](ExprRef tile) {
    FewRows few{mm};
    few.sums = mm.k.shared("sums", DType::kF32, mm.low.options.max_rows * mm.halves() * mm.lanes);
    few.vector(mm.k.let("column", tile * double(mm.lanes)));
  });
}

}  // namespace mlc::kernel
