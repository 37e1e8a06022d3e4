// matmul: picks the schedule, and holds the one for float activations and group-quantized weights.
//
// Quantized: one vector lane per weight row, so nothing is ever added across lanes. Per group of K the codes
// become floats, multiply the broadcast activations into a partial sum, and the group's scale multiplies that
// once. Parts are a loop, not straight code: hundreds of broadcasts in one block would be kept on the stack.
#include "kernel/lower/cpu/matmul.h"

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "kernel/lower/cpu/experts.h"
#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/weight_layouts.h"
#include "kernel/lower/epilogue.h"
#include "kernel/lower/norm.h"

namespace mlc::kernel {
namespace {

struct GroupMatmul {
  CpuLowering& low;
  Operand x;
  WeightReader weight;
  ExpertRows experts;
  Epilogue epilogue;
  int lanes = 1;    // weight rows of one vector
  int vectors = 1;  // vectors of a tile
  int rows = 1;     // activation rows at once
  bool tail = false;
  ExprRef matrix_row = int_const(0);  // where the weight's rows that the tile meets begin
  BufferRef sums = nullptr,
            partial = nullptr;  // registers [count()][rows]: over groups, and of the running group
  BufferRef inputs =
      nullptr;  // registers [rows]: the group's activations added up, where weights have offsets

  int count() const { return vectors * epilogue.halves(); }
  // First weight row of vector v of the tile: the vectors of the first half, then those of the second.
  ExprRef weight_row(const ExprRef& column, int v) const {
    int64_t half = v / vectors * epilogue.columns();
    return matrix_row + column + (half + v % vectors * lanes);
  }
  void part(const ExprRef& column, const ExprRef& g, const ExprRef& p, const std::vector<ExprRef>& base,
            int rest);
  void group(const ExprRef& column, const ExprRef& g, const std::vector<ExprRef>& row, int rest);
  void block(const ExprRef& column, const RowRun& run);
};

// Adds the products of part p of a group to the partial sums. rest: codes that the group really has, or 0 for
// all.
void GroupMatmul::part(const ExprRef& column, const ExprRef& g, const ExprRef& p,
                       const std::vector<ExprRef>& base, int rest) {
  KernelBuilder& k = low.k;
  const int words_per_part = weight.layout.words_per_part();
  std::vector<std::vector<ExprRef>> words(static_cast<size_t>(count()));
  for (int v = 0; v < count(); ++v)
    for (int w = 0; w < words_per_part; ++w)
      words[static_cast<size_t>(v)].push_back(
          k.let("word", weight.words(weight_row(column, v), g, p * words_per_part + w, lanes)));
  for (int i = 0; i < weight.layout.codes_per_part(); ++i) {
    const CodeIndex index = code_index(weight.layout, i);
    ExprRef at = index.at(p);
    std::vector<ExprRef> factors;
    for (const ExprRef& b : base) {
      if (rest) {
        ExprRef inside = k.let("inside", less(at, int_const(rest)));
        ExprRef value = low.load(x, b + binary(BinaryOp::kMin, at, int_const(rest - 1)));
        factors.push_back(k.let("x", broadcast(select(inside, value, float_const(0)), lanes)));
      } else {
        factors.push_back(k.let("x", broadcast(low.load(x, b + at), lanes)));
      }
    }
    if (inputs)
      for (size_t m = 0; m < base.size(); ++m) {
        ExprRef slot = int_const(static_cast<int64_t>(m));
        k.store(inputs, slot, k.load(inputs, slot) + factors[m]);
      }
    for (int v = 0; v < count(); ++v) {
      ExprRef code = k.let("code", weight.centered(weight.code(words[static_cast<size_t>(v)], index.at(0))));
      for (size_t m = 0; m < base.size(); ++m) {
        ExprRef slot = int_const(v * rows + static_cast<int64_t>(m));
        k.store(partial, slot, fma(code, factors[m], k.load(partial, slot)));
      }
    }
  }
}

// Adds one group's products, times its scales, to the sums.
void GroupMatmul::group(const ExprRef& column, const ExprRef& g, const std::vector<ExprRef>& row, int rest) {
  KernelBuilder& k = low.k;
  std::vector<ExprRef> base;
  for (const ExprRef& r : row) base.push_back(k.let("x_at", x.at(r, g * weight.layout.format.group)));
  for (int i = 0; i < count() * rows; ++i)
    k.store(partial, int_const(i), float_const(0, {DType::kF32, lanes}));
  for (int m = 0; inputs && m < rows; ++m)
    k.store(inputs, int_const(m), float_const(0, {DType::kF32, lanes}));
  k.loop("part", 0, weight.layout.parts(), LoopKind::kSerial,
         [&](ExprRef p) { part(column, g, p, base, rest); });
  for (int v = 0; v < count(); ++v) {
    ExprRef scale = k.let("scale", weight.scales(weight_row(column, v), g, lanes));
    ExprRef offset = weight.offsets(weight_row(column, v), g, lanes, scale);
    if (offset) offset = k.let("offset", offset);
    for (int m = 0; m < rows; ++m) {
      ExprRef slot = int_const(v * rows + m), sum = k.load(sums, slot);
      if (offset) sum = fma(k.load(inputs, int_const(m)), offset, sum);
      k.store(sums, slot, fma(k.load(partial, slot), scale, sum));
    }
  }
}

// Makes the first `rows` rows of the run.
void GroupMatmul::block(const ExprRef& column, const RowRun& run) {
  KernelBuilder& k = low.k;
  std::vector<ExprRef> row;  // of x
  for (int m = 0; m < rows; ++m)
    row.push_back(rows == 1 ? run.x_row : k.let("m", binary(BinaryOp::kMin, run.x_row + m, run.end - 1)));
  sums = k.registers("sum", {DType::kF32, lanes}, count() * rows);
  partial = k.registers("partial", {DType::kF32, lanes}, count() * rows);
  if (weight.layout.has_offsets()) inputs = k.registers("inputs", {DType::kF32, lanes}, rows);
  for (int i = 0; i < count() * rows; ++i) k.store(sums, int_const(i), float_const(0, {DType::kF32, lanes}));
  int64_t size = weight.layout.format.group, whole = weight.layout.k / size, rest = weight.layout.k % size;
  k.loop("group", 0, whole, LoopKind::kSerial, [&](ExprRef g) { group(column, g, row, 0); });
  if (rest) group(column, int_const(whole), row, static_cast<int>(rest));
  for (int m = 0; m < rows; ++m) {
    auto finish = [&] {
      for (int v = 0; v < vectors; ++v) {
        std::vector<ExprRef> values;
        for (int h = 0; h < epilogue.halves(); ++h)
          values.push_back(k.let("y", k.load(sums, int_const((h * vectors + v) * rows + m))));
        epilogue.store(rows == 1 ? run.row : row[size_t(m)], k.let("n", column + v * lanes), values, tail);
      }
    };
    if (rows == 1)
      finish();
    else
      k.branch(less(run.row + m, run.end), finish);
  }
}

Function lower_group_matmul(CpuLowering& low) {
  Operand x = low.matrix(0, "x");
  WeightLayout layout = weight_layout(low.type(1));
  BufferRef weight = low.k.input("weight", DType::kU8, layout.bytes());
  GroupMatmul mm{low, x, WeightReader{low.k, layout, weight}, ExpertRows(low), Epilogue(low)};
  int64_t columns = mm.epilogue.columns();
  mm.lanes = low.lanes();
  if (layout.tile_rows) mm.lanes = std::min(mm.lanes, layout.tile_rows);
  mm.weight.scattered = scatters(low.type(1), mm.experts, mm.epilogue.halves(), mm.lanes);
  mm.tail = columns % mm.lanes != 0;
  const bool by_row = mm.experts.by_row();
  mm.rows = by_row ? 1 : 4;
  mm.vectors = by_row && columns % (2 * mm.lanes) == 0 ? 2 : 1;
  int64_t step = mm.lanes * mm.vectors;
  for_matrix_tiles(low, mm.experts, (columns + step - 1) / step, [&](ExprRef tile, const RowRun& run) {
    ExprRef column = low.k.let("column", tile * step);
    mm.matrix_row = run.weight_row;
    if (by_row) return mm.block(column, run);
    for_row_blocks(low.k, run, mm.rows, [&](const RowRun& block) { mm.block(column, block); });
  });
  return low.k.finish();
}

}  // namespace

Function lower_matmul(CpuLowering& low) {
  check_no_norm(low);
  bool quantized_weight = low.type(1).kind == graph::TensorType::Kind::kGroup;
  if (low.type(0).kind == graph::TensorType::Kind::kQ8Activation) return lower_matmul_q8(low);
  if (low.type(0).is_tiled()) return lower_matmul_matrix(low);
  return quantized_weight ? lower_group_matmul(low) : lower_plain_matmul(low);
}

}  // namespace mlc::kernel
