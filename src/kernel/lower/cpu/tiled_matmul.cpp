// Operands and tiles of the matmuls of weights in tiles on CPUs.
#include "kernel/lower/cpu/tiled_matmul.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {
namespace {

WeightReader weight_reader(CpuLowering& low) {
  WeightLayout layout = weight_layout(low.type(1));
  internal_check(layout.tile_rows, "matmul: ", low.type(0).text(), " needs a weight in tiles, found ",
                 low.type(1).text());
  return {low.k, layout, low.k.input("weight", DType::kU8, layout.bytes())};
}

}  // namespace

TiledMatmul::TiledMatmul(CpuLowering& l)
    : low(l), k(l.k), x(l.matrix(0, "x")), weight(weight_reader(l)), experts(l), epilogue(l) {
  int64_t columns = epilogue.columns();
  lanes = std::min(low.lanes(), weight.layout.tile_rows);
  vectors = (columns + lanes - 1) / lanes;
  tail = columns % lanes != 0;
  weight.scattered = scatters(low.type(1), experts, halves(), lanes);
}

std::vector<ExprRef> TiledMatmul::tile_columns(const ExprRef& first, int count) {
  ExprRef last = int_const((vectors - 1) * lanes);
  std::vector<ExprRef> columns;
  for (int v = 0; v < count; ++v) {
    ExprRef column = first + v * lanes;
    columns.push_back(vectors % count ? k.let("column", binary(BinaryOp::kMin, column, last)) : column);
  }
  return columns;
}

void TiledMatmul::store(const ExprRef& row, const std::vector<ExprRef>& columns, const BufferRef& sums,
                        const ExprRef& at) {
  for (size_t v = 0; v < columns.size(); ++v) {
    std::vector<ExprRef> values;
    for (int h = 0; h < halves(); ++h) {
      int64_t slot = static_cast<int64_t>(v) * halves() + h;
      values.push_back(k.let("y", k.load(sums, at + slot * lanes, lanes)));
    }
    store(row, columns[v], values);
  }
}

RowBlock row_block(KernelBuilder& k, const Dim& rows, int64_t limit, int unit, const ExprRef& index) {
  ExprRef total = dim_expr(rows), blocks = k.let("blocks", dim_expr(ceildiv(rows, limit)));
  ExprRef even = (total + (blocks - 1)) / blocks;
  ExprRef size = k.let("size", (even + (unit - 1)) / unit * unit);
  ExprRef first = k.let("first", index * size);
  ExprRef left = binary(BinaryOp::kMax, total - first, int_const(0));
  return {first, k.let("count", binary(BinaryOp::kMin, size, left))};
}

}  // namespace mlc::kernel
