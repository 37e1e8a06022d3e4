// Matmul of unquantized weights on GPUs.
#include <algorithm>

#include "kernel/lower/gpu/matmul.h"

namespace mlc::kernel {
namespace {

constexpr int kColumns = 4;  // results beside each other that a subgroup makes

// Where a group's results go: its lane, first column and first row, where the rows end, from one to the next.
struct Corner {
  ExprRef lane, first_column, first_row, end;
  int64_t step;
};

// Adds the lanes' sums over the subgroup; one lane stores each result. acc: [half][column][row] of the block.
void store_sums(Epilogue& epilogue, GpuLowering& gpu, const BufferRef& acc, const Corner& corner,
                const std::vector<ExprRef>& m) {
  KernelBuilder& k = gpu.k;
  const int halves = epilogue.halves(), height = static_cast<int>(m.size());
  std::vector<ExprRef> sums;
  for (int i = 0; i < kColumns * halves * height; ++i) {
    ExprRef mine = k.let("mine", sum_lanes(k, k.load(acc, int_const(i))));
    sums.push_back(k.let("sum", subgroup(BinaryOp::kAdd, mine)));
  }
  for (int c = 0; c < kColumns; ++c)
    for (int i = 0; i < height; ++i) {
      ExprRef mine = binary(BinaryOp::kEq, corner.lane, int_const((c * height + i) % gpu.lanes));
      ExprRef column = k.let("n", corner.first_column + c);
      ExprRef fits = binary(BinaryOp::kAnd, less(column, int_const(epilogue.columns())),
                            less(corner.first_row + i * corner.step, corner.end));
      k.branch(binary(BinaryOp::kAnd, mine, fits), [&] {
        std::vector<ExprRef> values;
        for (int h = 0; h < halves; ++h)
          values.push_back(sums[static_cast<size_t>((h * kColumns + c) * height + i)]);
        epilogue.store(m[static_cast<size_t>(i)], column, values);
      });
    }
}

// Copies what follows the first k elements of the heads m: twice where rows past the last are the last again.
void pass_on(GpuLowering& gpu, const Operand& x, const Epilogue& epilogue, int64_t k, const ExprRef& lane,
             const std::vector<ExprRef>& m) {
  const Operand& out = epilogue.out();
  for (const ExprRef& row : m)
    gpu.for_units(x.columns - k, gpu.lanes, lane, [&](ExprRef d, ExprRef inside) {
      ExprRef v = gpu.k.let("x", gpu.load(x, x.at(row, d + k)));
      gpu.where(inside, [&] { gpu.store(out, out.at(row, d + epilogue.columns()), v); });
    });
}

}  // namespace

// Lanes along K, sums over the subgroup at the end.
Function gpu_matmul_plain(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  Operand x = gpu.matrix(0, "x"), weight = gpu.matrix(1, "weight");
  ExpertRows experts(gpu);
  Epilogue epilogue(gpu);
  const int64_t rest = experts.of_heads() ? x.columns / experts.count() - weight.columns : 0;
  if (experts.of_heads()) {
    gpu.split_heads(x, weight.columns + rest);
    epilogue.split_heads(epilogue.columns() + rest);
  }
  int n = std::min(x.lanes(), weight.lanes()), halves = epilogue.halves(), lanes = gpu.lanes;
  const int height = experts.by_row() ? 1 : 4, results = kColumns * halves * height;
  int64_t blocks = (epilogue.columns() + kColumns - 1) / kColumns, units = weight.columns / n;
  auto block = [&](const ExprRef& lane, const ExprRef& first, const RowRun& run) {
    std::vector<ExprRef> m, rows;
    for (int i = 0; i < height; ++i)
      m.push_back(height == 1 ? run.x_row
                              : k.let("m", binary(BinaryOp::kMin, run.x_row + i * run.step, run.end - 1)));
    for (int c = 0; c < kColumns * halves; ++c) {
      ExprRef column = binary(BinaryOp::kMin, first + c % kColumns, int_const(epilogue.columns() - 1));
      rows.push_back(k.let("row", run.weight_row + column + c / kColumns * epilogue.columns()));
    }
    BufferRef acc = k.registers("acc", {DType::kF32, n}, results);
    for (int i = 0; i < results; ++i) k.store(acc, int_const(i), float_const(0, {DType::kF32, n}));
    gpu.for_units(units, lanes, lane, [&](ExprRef unit, ExprRef inside) {
      ExprRef at = k.let("at", unit * n);
      std::vector<ExprRef> factors;
      for (int i = 0; i < height; ++i) {
        ExprRef v = k.let("x", gpu.load(x, x.at(m[static_cast<size_t>(i)], at), n));
        factors.push_back(inside ? k.let("x", select(inside, v, float_const(0, v->type))) : v);
      }
      for (size_t c = 0; c < rows.size(); ++c) {
        ExprRef v = k.let("w", gpu.load(weight, weight.at(rows[c], at), n));
        if (inside) v = k.let("w", select(inside, v, float_const(0, v->type)));
        for (int i = 0; i < height; ++i) {
          ExprRef to = int_const(static_cast<int64_t>(c) * height + i);
          k.store(acc, to, fma(v, factors[static_cast<size_t>(i)], k.load(acc, to)));
        }
      }
    });
    if (height == 1) m[0] = run.row;
    store_sums(epilogue, gpu, acc, {lane, first, run.row, run.end, run.step}, m);
    if (rest > 0)
      k.branch(binary(BinaryOp::kEq, first, int_const(0)),
               [&] { pass_on(gpu, x, epilogue, weight.columns, lane, m); });
  };
  const Dim parts = !experts.by_row() ? row_blocks(experts, height) : experts.any() ? experts.rows() : Dim(1);
  k.groups(parts * blocks, lanes, lanes, [&](ExprRef group, ExprRef lane) {
    ExprRef first = k.let("first", group % blocks * kColumns), part = group / blocks;
    if (experts.by_row())
      return block(lane, first, experts.one_row(experts.any() ? k.let("slot", part) : int_const(0)));
    for_row_block(k, experts, height, part, [&](const RowRun& run) { block(lane, first, run); });
  });
  return k.finish();
}

}  // namespace mlc::kernel
