// The int8 matmul for a few activation rows: weights pass once, as for one row. The codes of a group of some
// vectors of weight rows are unpacked once into registers and meet all rows, some at once; the rows' sums lie
// in L1.
#include <algorithm>

#include "kernel/lower/cpu/matmul_q8.h"

namespace mlc::kernel {
namespace {

struct FewRows {
  Q8Matmul& mm;
  int vectors = 1;                    // of a half
  BufferRef sums = nullptr;           // shared f32 [row][slot][lanes], slot v * halves + h
  std::vector<ExprRef> columns = {};  // first column of each vector
  ExprRef first_row = int_const(0);   // of those that meet the weights; others are counted from it

  int slots() const { return vectors * mm.halves(); }
  int at_once() const {
    return std::min(mm.schedule.few_vectors, slots());
  }  // slots whose weights share the registers
  ExprRef sums_at(const ExprRef& row) const { return row * (slots() * mm.lanes); }
  ExprRef weight_row(int slot) const {
    return mm.weight_row(columns[static_cast<size_t>(slot / mm.halves())], slot % mm.halves());
  }

  void meet(const std::vector<std::vector<ExprRef>>& w, const std::vector<ExprRef>& scale, int slot,
            const ExprRef& g, const ExprRef& first, int rows);
  void group(const ExprRef& g, int slot, const ExprRef& total);
  void tile(const ExprRef& total);
};

// Rows [first, first + rows) meet the weights w[slot][step] of a group: one step of all, then the next.
void FewRows::meet(const std::vector<std::vector<ExprRef>>& w, const std::vector<ExprRef>& scale, int slot,
                   const ExprRef& g, const ExprRef& first, int rows) {
  KernelBuilder& k = mm.k;
  Q8Matmul::Group at = mm.activation_group(QuantizedRow(mm.x, first_row + first), g);
  ExprRef to = k.let("sums_at", sums_at(first) + slot * mm.lanes);
  auto shared = [&](const char* name, ExprRef value) { return w.size() > 1 ? k.let(name, value) : value; };
  std::vector<ExprRef> dots;  // [row][slot]
  for (int m = 0; m < rows; ++m) {
    ExprRef start = mm.starts_first() ? k.let("start", mm.activation_start(at, m)) : nullptr;
    dots.insert(dots.end(), w.size(), mm.begin(start));
  }
  for (int s = 0; s < mm.steps(); ++s)
    for (int m = 0; m < rows; ++m) {
      ExprRef four = shared("x", mm.activation(at, m, s));
      for (size_t v = 0; v < w.size(); ++v) {
        ExprRef& dot = dots[static_cast<size_t>(m) * w.size() + v];
        dot = mm.step(dot, w[v][static_cast<size_t>(s)], four);
      }
    }
  for (int m = 0; m < rows; ++m) {
    ExprRef start = mm.starts_last() ? shared("start", mm.activation_start(at, m)) : nullptr;
    ExprRef x_scale = shared("x_scale", mm.activation_scale(at, m));
    for (size_t v = 0; v < w.size(); ++v) {
      ExprRef total = mm.finish(dots[static_cast<size_t>(m) * w.size() + v], start);
      ExprRef sum_at = to + (m * slots() + static_cast<int>(v)) * mm.lanes;
      k.store(sums, sum_at, fma(total, scale[v] * x_scale, k.load(sums, sum_at, mm.lanes)));
    }
  }
}

// All rows meet the weights of slots [slot, slot + at_once()) of a group.
void FewRows::group(const ExprRef& g, int slot, const ExprRef& total) {
  KernelBuilder& k = mm.k;
  std::vector<std::vector<ExprRef>> w;
  std::vector<ExprRef> scale;
  for (int v = slot; v < slot + at_once(); ++v) {
    mm.prefetch(weight_row(v), g);
    w.push_back(mm.unpack(weight_row(v), g));
    scale.push_back(k.let("scale", mm.weight.scales(weight_row(v), g, mm.lanes)));
  }
  int rows = mm.schedule.few_rows;
  k.loop("block", int_const(0), k.let("blocks", total / rows), LoopKind::kSerial,
         [&](ExprRef b) { meet(w, scale, slot, g, k.let("m", b * rows), rows); });
  while ((rows /= 2) > 0) {  // the rest, in halves
    ExprRef left = k.let("left", total % int64_t{2 * rows});
    k.branch(less(int_const(rows - 1), left),
             [&] { meet(w, scale, slot, g, k.let("m", total - left), rows); });
  }
}

void FewRows::tile(const ExprRef& total) {
  KernelBuilder& k = mm.k;
  k.loop("i", int_const(0), total * slots(), LoopKind::kSerial,
         [&](ExprRef i) { k.store(sums, i * mm.lanes, float_const(0, {DType::kF32, mm.lanes})); });
  k.loop("group", 0, mm.groups(), LoopKind::kSerial, [&](ExprRef g) {
    for (int slot = 0; slot < slots(); slot += at_once()) group(g, slot, total);
  });
  k.loop("row", int_const(0), total, LoopKind::kSerial,
         [&](ExprRef row) { mm.store(first_row + row, columns, sums, k.let("sums_at", sums_at(row))); });
}

}  // namespace

void matmul_few_rows(Q8Matmul& mm) {
  int vectors = std::max(1, mm.schedule.few_vectors / mm.halves());
  for_matrix_tiles(
      mm.low, mm.experts, (mm.vectors + vectors - 1) / vectors, [&](ExprRef tile, const RowRun& run) {
        FewRows few{mm, vectors};
        mm.matrix_row = run.weight_row;
        few.first_row = run.row;
        few.sums = mm.k.shared("sums", DType::kF32, mm.low.options.max_rows * few.slots() * mm.lanes);
        few.columns = mm.tile_columns(mm.k.let("column", tile * (vectors * mm.lanes)), vectors);
        few.tile(run.end - run.row);
      });
}

}  // namespace mlc::kernel
