// Many rows on a CPU's matrix unit: bf16 activations in tiles and 4-bit weights.
//
// A panel, the weights of some vectors of columns over a chunk of K, is expanded to bf16, and two vectors of
// it at a time meet the rows of a block, 32 at a time: two by two matrices of sums, to which a group of K
// adds by four products of two matrices of each factor. Activations arrive as the matrices that they are
// loaded as, and so are weights expanded: pairs of k side by side. The sums lie in cache from chunk to chunk.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/check.h"
#include "kernel/lower/cpu/matmul.h"
#include "kernel/lower/cpu/tiled_matmul.h"
#include "kernel/schedule/cpu/matmul_table.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kMatrix = graph::kTileRows * graph::kTileColumns;  // elements of a factor's matrix
constexpr int kRows = 2 * graph::kTileRows;                          // of a register tile
constexpr int kAhead = 4;  // groups from a prefetch to its use: some 250 cycles

struct MatrixPanel {
  TiledMatmul& mm;
  int vectors = 1;    // of a half
  int64_t chunk = 1;  // groups of K
  BufferRef weights =
      nullptr;               // shared bf16 [two slots][group of the chunk][slot of them][pair of k][lane][2]
  BufferRef sums = nullptr;  // shared f32 [row of the block][slot][lane]
  BufferRef a = nullptr, b = nullptr, acc = nullptr;
  std::vector<ExprRef> columns = {};  // first column of each vector

  int slots() const { return vectors * mm.halves(); }  // slot v * halves + h
  int64_t line() const { return int64_t{slots()} * mm.lanes; }
  int wide(int slot) const { return std::min(2, slots() - slot / 2 * 2); }  // slots of the two that there are
  ExprRef weights_at(const ExprRef& g, int slot) const {
    return g * (wide(slot) * kMatrix) + (slot / 2 * 2 * chunk + slot % 2) * kMatrix;
  }

  void expand_slot(const ExprRef& g, const ExprRef& to, int slot);
  void expand(const ExprRef& first_group, const ExprRef& count);
  void multiply(const ExprRef& row, const ExprRef& local, int slot, const ExprRef& first_group,
                const ExprRef& count);
  void prefetch(const ExprRef& at, int part, int parts);
  void store(const RowBlock& block);
};

// The codes of a group as f32 vectors of (code - zero point) * scale. Four bits at place p of a word are, in
// the mantissa of 1, the number f = 1 + code 2^(p - 23), and code - z = f 2^(23 - p) - (2^(23 - p) + z). With
// p of 12 or 16 and scales of 16 bits every product is exact: (2^11 + 7) * scale has at most 12 + 11 bits. A
// shift brings two codes to their places.
class Dequantizer {
 public:
  Dequantizer(TiledMatmul& mm, const ExprRef& row, const ExprRef& group)
      : mm_(mm), scale_(mm.weight.scales(row, group, mm.lanes)) {
    KernelBuilder& k = mm.k;
    scale_ = k.let("scale", scale_);
    for (int j = 0; j < 4; ++j)
      words_.push_back(k.let("word", mm.weight.words(row, group, int_const(j), mm.lanes)));
    exact_ = size_of(layout().format.dtype) == 2;
    for (int place : {12, 16}) {
      double unit = exact_ ? double(1 << (23 - place)) : 1;
      factor_[place == 16] = k.let("factor", scale_ * unit);
      offset_[place == 16] = k.let("offset", scale_ * -((exact_ ? unit : 0) + layout().format.zero_point()));
    }
  }

  ExprRef value(int i) {
    const Type ints{DType::kI32, mm_.lanes}, floats{DType::kF32, mm_.lanes};
    const CodePiece at = code_pieces(layout(), i).front();  // 4 bits are in one piece
    if (!exact_) {
      ExprRef code = binary(BinaryOp::kAnd, moved(at, 0), int_const(15));
      return fma(cast(bitcast(code, ints), DType::kF32), factor_[0], offset_[0]);
    }
    constexpr int kPlaces[] = {12, 16, 12, 12, 16, 12, 16, 16};  // of the codes at bits 0, 4, .. of a word
    int place = kPlaces[at.shift / 4];
    ExprRef bits = binary(BinaryOp::kAnd, moved(at, place), int_const(15 << place));
    ExprRef number = bitcast(binary(BinaryOp::kOr, bits, int_const(0x3F800000)), floats);
    return fma(number, factor_[place == 16], offset_[place == 16]);
  }

 private:
  const WeightLayout& layout() const { return mm_.weight.layout; }

  // The word with the code at bit `place`.
  ExprRef moved(const CodePiece& at, int place) {
    int by = place - at.shift;
    ExprRef& word = moved_[{at.word, by}];
    if (word) return word;
    word = words_[static_cast<size_t>(at.word)];
    if (by)
      word =
          mm_.k.let("moved", binary(by > 0 ? BinaryOp::kShl : BinaryOp::kShr, word, int_const(std::abs(by))));
    return word;
  }

  TiledMatmul& mm_;
  ExprRef scale_, factor_[2], offset_[2];
  std::vector<ExprRef> words_;
  std::map<std::pair<int, int>, ExprRef> moved_;
  bool exact_ = true;
};

void MatrixPanel::expand_slot(const ExprRef& g, const ExprRef& to, int slot) {
  KernelBuilder& k = mm.k;
  Dequantizer codes(mm, mm.weight_row(columns[static_cast<size_t>(slot / mm.halves())], slot % mm.halves()),
                    g);
  std::vector<int> both, side_by_side;
  for (int lane = 0; lane < 2 * mm.lanes; ++lane) both.push_back(lane);
  for (int lane = 0; lane < mm.lanes; ++lane)
    side_by_side.insert(side_by_side.end(), {lane, mm.lanes + lane});
  for (int i = 0; i < mm.weight.layout.format.group; i += 2) {
    ExprRef rounded = cast(shuffle({codes.value(i), codes.value(i + 1)}, both), DType::kBF16);
    k.store(weights, to + i * mm.lanes, shuffle({rounded}, side_by_side));
  }
}

void MatrixPanel::expand(const ExprRef& first_group, const ExprRef& count) {
  mm.k.loop("group", int_const(0), count, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef g = mm.k.let("g", first_group + i);
    for (int slot = 0; slot < slots(); ++slot) expand_slot(g, mm.k.let("to", weights_at(i, slot)), slot);
  });
}

// Adds the chunk's products of 32 rows, which are rows `local`.. of the block, and of slots [slot, slot + 2)
// to their sums.
void MatrixPanel::multiply(const ExprRef& row, const ExprRef& local, int slot, const ExprRef& first_group,
                           const ExprRef& count) {
  KernelBuilder& k = mm.k;
  auto sums_at = [&](int i, int j) {
    return (local + i * graph::kTileRows) * line() + (slot + j) * mm.lanes;
  };
  auto each_sum = [&](const std::function<void(int, int)>& visit) {
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < wide(slot); ++j) visit(i, j);
  };
  k.branch(
      binary(BinaryOp::kEq, first_group, int_const(0)),
      [&] { each_sum([&](int i, int j) { k.matrix_clear({acc, 2 * i + j}); }); },
      [&] {
        each_sum([&](int i, int j) {
          k.matrix_load({acc, 2 * i + j}, sums, sums_at(i, j), line(), MatrixOrder::kRows);
        });
      });
  ExprRef x_at = k.let("x_at", mm.x.tile_at(row, first_group));
  k.loop("group", int_const(0), count, LoopKind::kSerial, [&](ExprRef g) {
    for (int j = 0; j < wide(slot); ++j)
      k.matrix_load({b, j}, weights, weights_at(g, slot + j), 2 * mm.lanes, MatrixOrder::kPairs);
    for (int i = 0; i < 2; ++i)
      k.matrix_load({a, i}, mm.x.buffer, x_at + g * kMatrix + i * mm.groups() * kMatrix, graph::kTileColumns,
                    MatrixOrder::kRows);
    each_sum([&](int i, int j) {
      k.matrix_multiply({acc, 2 * i + j}, {a, i}, {b, j});
      prefetch(x_at + (g + kAhead) * kMatrix + i * mm.groups() * kMatrix, j, wide(slot));
    });
  });
  each_sum([&](int i, int j) {
    k.matrix_store({acc, 2 * i + j}, sums, sums_at(i, j), line(), MatrixOrder::kRows);
  });
}

// Asks for part `part` of `parts` of a matrix of activations: some lines after each product, which they hide
// behind.
void MatrixPanel::prefetch(const ExprRef& at, int part, int parts) {
  for (int row = part; row < graph::kTileRows; row += parts)  // a row is a cache line
    mm.k.prefetch(mm.x.buffer, at + row * graph::kTileColumns);
}

// Finishes the rows of the block from their sums.
void MatrixPanel::store(const RowBlock& block) {
  KernelBuilder& k = mm.k;
  k.loop("m", int_const(0), block.count, LoopKind::kSerial, [&](ExprRef m) {
    mm.store(k.let("row", block.first + m), columns, sums, k.let("sums_at", m * line()));
  });
}

void multiply_block(MatrixPanel& panel, const RowBlock& block) {
  KernelBuilder& k = panel.mm.k;
  const int64_t groups = panel.mm.groups(), chunk = panel.chunk;
  k.loop("chunk", 0, (groups + chunk - 1) / chunk, LoopKind::kSerial, [&](ExprRef c) {
    ExprRef begin = k.let("begin", c * chunk);
    ExprRef count = k.let("groups", binary(BinaryOp::kMin, int_const(chunk), int_const(groups) - begin));
    panel.expand(begin, count);
    for (int slot = 0; slot < panel.slots(); slot += 2)
      k.loop("tile", int_const(0), (block.count + (kRows - 1)) / kRows, LoopKind::kSerial, [&](ExprRef t) {
        ExprRef local = k.let("local", t * kRows);
        panel.multiply(k.let("row", block.first + local), local, slot, begin, count);
      });
  });
  panel.store(block);
}

}  // namespace

Function lower_matmul_matrix(CpuLowering& low) {
  TiledMatmul mm(low);
  internal_check(mm.weight.layout.format.bits == 4, "matmul: a matrix unit needs 4-bit weights");
  KernelBuilder& k = low.k;
  const MatrixUnit& unit = low.target.matrix_unit;
  internal_check(
      unit.rows == graph::kTileRows && unit.depth == graph::kTileColumns && unit.columns == mm.lanes,
      "matmul: tiles for another matrix unit");
  const MatrixSchedule& schedule = kMatrixSchedule;
  int vectors =
      static_cast<int>(std::min<int64_t>(std::max(1, schedule.panel_vectors / mm.halves()), mm.vectors));
  int64_t panels = (mm.vectors + vectors - 1) / vectors;
  int64_t chunk = std::min<int64_t>(schedule.panel_groups, mm.groups());
  k.grid("tile", Dim(panels) * ceildiv(mm.x.rows, schedule.block_rows), [&](ExprRef tile) {
    MatrixPanel panel{mm, vectors, chunk};
    using Role = Fragment::Role;
    panel.weights = k.shared("weights", DType::kBF16, chunk * panel.slots() * kMatrix);
    panel.sums = k.shared("sums", DType::kF32, schedule.block_rows * panel.line());
    panel.a = k.fragments("a", DType::kBF16, {Role::kA, unit.rows, unit.depth}, 2);
    panel.b = k.fragments("b", DType::kBF16, {Role::kB, unit.depth, unit.columns}, 2);
    panel.acc = k.fragments("acc", DType::kF32, {Role::kSum, unit.rows, unit.columns}, 4);
    panel.columns = mm.tile_columns(k.let("column", tile % panels * (vectors * mm.lanes)), vectors);
    multiply_block(panel, row_block(k, mm.x.rows, schedule.block_rows, kRows, tile / panels));
  });
  return k.finish();
}

}  // namespace mlc::kernel
