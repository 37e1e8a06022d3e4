// matmul over unquantized weights: dot products along K, one horizontal add per result at the end.
#include "kernel/lower/cpu/experts.h"
#include "kernel/lower/cpu/matmul.h"
#include "kernel/lower/epilogue.h"

namespace mlc::kernel {
namespace {

constexpr int kOutputs = 4;  // weight rows of a register tile, per half

struct PlainMatmul {
  CpuLowering& low;
  Operand x, weight;
  ExpertRows experts;
  Epilogue epilogue;
  int rows = 1;    // activation rows at once
  int chains = 1;  // independent sums per result
  int columns() const { return kOutputs * epilogue.halves(); }
  // Elements of a head that follow those which meet its matrix.
  int64_t rest() const { return experts.of_heads() ? x.columns - weight.columns : 0; }

  // Adds x[row][i..] * weight[n][i..], `lanes` elements to each of the first used_chains of sums
  // [columns][rows][stride].
  void step(const BufferRef& sums, const std::vector<ExprRef>& x_at, const std::vector<ExprRef>& w_at,
            ExprRef i, int lanes, int used_chains, int stride);
  void block(const ExprRef& column, const RowRun& run);
  void store(const BufferRef& sums, const BufferRef& rest, const ExprRef& row, const ExprRef& column, int m);
  void pass_on_rest(const RowRun& run);
};

void PlainMatmul::step(const BufferRef& sums, const std::vector<ExprRef>& x_at,
                       const std::vector<ExprRef>& w_at, ExprRef i, int lanes, int used_chains, int stride) {
  KernelBuilder& k = low.k;
  for (int c = 0; c < used_chains; ++c) {
    std::vector<ExprRef> factors;
    for (const ExprRef& at : x_at) factors.push_back(k.let("x", low.load(x, at + i + c * lanes, lanes)));
    for (size_t n = 0; n < w_at.size(); ++n) {
      ExprRef w = k.let("w", low.load(weight, w_at[n] + i + c * lanes, lanes));
      for (size_t m = 0; m < x_at.size(); ++m) {
        ExprRef at = int_const(static_cast<int64_t>((n * x_at.size() + m) * size_t(stride)) + c);
        k.store(sums, at, fma(w, factors[m], k.load(sums, at)));
      }
    }
  }
}

void PlainMatmul::store(const BufferRef& sums, const BufferRef& rest, const ExprRef& row,
                        const ExprRef& column, int m) {
  KernelBuilder& k = low.k;
  std::vector<ExprRef> values;
  for (int h = 0; h < epilogue.halves(); ++h) {
    std::vector<ExprRef> lanes;
    for (int j = 0; j < kOutputs; ++j) {
      int64_t at = (h * kOutputs + j) * rows + m;
      ExprRef sum = k.load(sums, int_const(at * chains));
      for (int c = 1; c < chains; ++c) sum = sum + k.load(sums, int_const(at * chains + c));
      lanes.push_back(k.let("y", reduce(BinaryOp::kAdd, sum) + k.load(rest, int_const(at))));
    }
    values.push_back(k.let("y", shuffle(lanes, {0, 1, 2, 3})));
  }
  epilogue.store(row, column, values, epilogue.columns() % kOutputs != 0);
}

// Makes the first `rows` rows of the run.
void PlainMatmul::block(const ExprRef& column, const RowRun& run) {
  KernelBuilder& k = low.k;
  std::vector<ExprRef> row, x_at, w_at;
  for (int m = 0; m < rows; ++m) {
    ExprRef at = run.x_row + m * run.step;
    row.push_back(rows == 1 ? run.x_row : k.let("m", binary(BinaryOp::kMin, at, run.end - 1)));
    x_at.push_back(k.let("x_at", x.at(row.back(), int_const(0))));
  }
  for (int j = 0; j < columns(); ++j) {
    ExprRef n = column + j % kOutputs;
    if (epilogue.columns() % kOutputs) n = binary(BinaryOp::kMin, n, int_const(epilogue.columns() - 1));
    w_at.push_back(k.let("w_at", (run.weight_row + n + j / kOutputs * epilogue.columns()) * weight.columns));
  }
  int wide = low.lanes(), results = columns() * rows;
  BufferRef sums = k.registers("sum", {DType::kF32, wide}, results * chains);
  BufferRef rest = k.registers("rest", {DType::kF32, 1}, results);
  for (int i = 0; i < results * chains; ++i) k.store(sums, int_const(i), float_const(0, {DType::kF32, wide}));
  for (int i = 0; i < results; ++i) k.store(rest, int_const(i), float_const(0));
  int64_t size = weight.columns, unit = wide * chains, blocks = size / unit, done = blocks * unit;
  k.loop("i", 0, blocks, LoopKind::kSerial,
         [&](ExprRef i) { step(sums, x_at, w_at, k.let("k", i * unit), wide, chains, chains); });
  for (; done + wide <= size; done += wide) step(sums, x_at, w_at, int_const(done), wide, 1, chains);
  k.loop("i", done, size - done, LoopKind::kSerial, [&](ExprRef i) { step(rest, x_at, w_at, i, 1, 1, 1); });
  for (int m = 0; m < rows; ++m) {
    auto finish = [&] { store(sums, rest, rows == 1 ? run.row : row[size_t(m)], column, m); };
    if (rows == 1)
      finish();
    else
      k.branch(less(run.row + m * run.step, run.end), finish);
  }
}

void PlainMatmul::pass_on_rest(const RowRun& run) {
  KernelBuilder& k = low.k;
  ExprRef count = (run.end - run.row + (run.step - 1)) / run.step;
  k.loop("row", int_const(0), count, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef row = k.let("row", run.row + i * run.step);
    k.vector_loop("d", int_const(rest()), low.lanes(), [&](ExprRef d, int lanes) {
      low.store(epilogue.out(), epilogue.out().at(row, d + epilogue.columns()),
                low.load(x, x.at(row, d + weight.columns), lanes));
    });
  });
}

}  // namespace

Function lower_plain_matmul(CpuLowering& low) {
  Operand x = low.matrix(0, "x");
  Operand weight = low.matrix(1, "weight");
  PlainMatmul mm{low, x, weight, ExpertRows(low), Epilogue(low)};
  if (mm.experts.of_heads()) {
    low.split_heads(mm.x, x.columns / mm.experts.count());
    mm.epilogue.split_heads(mm.epilogue.columns() + mm.rest());
  }
  const bool by_row = mm.experts.by_row();
  int room = low.target.vector_registers * 3 / 4;  // the rest holds operands
  mm.rows = by_row ? 1 : std::max(1, room / mm.columns());
  mm.chains = by_row && mm.epilogue.halves() == 1 ? 2 : 1;
  constexpr int kBlocks =
      4;  // register tiles of one grid tile: 16 results of a row, enough to pay for claiming it
  int64_t columns = mm.epilogue.columns(), blocks = (columns + kOutputs - 1) / kOutputs;
  auto column_block = [&](const ExprRef& column, const RowRun& run) {
    if (by_row) return mm.block(column, run);
    for_row_blocks(low.k, run, mm.rows, [&](const RowRun& block) { mm.block(column, block); });
  };
  for_matrix_tiles(low, mm.experts, (blocks + kBlocks - 1) / kBlocks, [&](ExprRef tile, const RowRun& run) {
    ExprRef first = low.k.let("first", tile * kBlocks);
    ExprRef count = binary(BinaryOp::kMin, int_const(kBlocks), int_const(blocks) - first);
    low.k.loop("column", int_const(0), count, LoopKind::kSerial,
               [&](ExprRef b) { column_block(low.k.let("n", (first + b) * kOutputs), run); });
    if (mm.rest() > 0) low.k.branch(binary(BinaryOp::kEq, tile, int_const(0)), [&] { mm.pass_on_rest(run); });
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
