// matmul of int8 activations and 4-bit weights in a tile layout.
//
// A vector lane is one weight row. Per group of 32: the four words of the lanes' codes become eight vectors of bytes
// (low and high nibbles), each meets four activation codes broadcast to all lanes in a dot product, and the integer
// sum, exact, becomes a float once and is scaled by weight scale x activation scale. The weight zero point costs nothing
// per element: sum (q - 7) x = sum q x - 7 sum x, and the activation brings its sum of codes.
// A tile of weights stays in L1 while all rows of the call pass by, in register tiles of a few rows.
#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/epilogue.h"
#include "kernel/lower/layouts.h"
#include "kernel/lower/matmul.h"
#include "kernel/lower/quantize.h"

namespace mlc::kernel {
namespace {

// How four products of bytes per lane are summed, best first.
enum class Inner {
  kDot4U8,    // u8 codes x s8, into i32
  kDot4S8,    // (code - zero point) x s8, into i32: no correction for the zero point
  kDot2,      // pairs in i16, exact over a group: 8 x 2 x 15 x 127 = 30,480 < 2^15; then pairs of i16 into i32
};

Inner choose_inner(const Target& t) {
  if (t.dot4_u8s8) return Inner::kDot4U8;
  if (t.dot4_s8s8) return Inner::kDot4S8;
  if (t.dot2_u8s8 && t.dot2_i16) return Inner::kDot2;
  return Inner::kDot4U8;  // legalize widens it
}

struct Q8Matmul {
  Lowering& low;
  Matrix x;
  WeightReader weight;
  Epilogue epilogue;
  Inner inner;
  int lanes = 8;  // weight rows of one vector
  int rows = 1;   // activation rows of a register tile
  bool tail = false;
  BufferRef sums = nullptr;  // registers [halves][rows], f32 lanes

  KernelBuilder& k() { return low.k; }
  ExprRef weight_row(const ExprRef& column, int half) const {
    return column + double(half * epilogue.columns());
  }
  std::vector<ExprRef> codes(const ExprRef& row, const ExprRef& group);
  ExprRef activation(const QuantizedRow& row, const ExprRef& group, int step, int bytes);
  ExprRef dot(const std::vector<ExprRef>& w, const QuantizedRow& row, const ExprRef& group);
  void group(const ExprRef& column, const ExprRef& g, const std::vector<QuantizedRow>& row);
  void block(const ExprRef& column, const ExprRef& first_row);
};

// The codes of a group as bytes: vector s holds k = 4s .. 4s+3 of each lane.
std::vector<ExprRef> Q8Matmul::codes(const ExprRef& row, const ExprRef& group) {
  std::vector<ExprRef> out(8);
  for (int j = 0; j < 4; ++j) {
    ExprRef word = k().let("word", weight.words(row, group, int_const(j), lanes));
    for (int high : {0, 1}) {
      ExprRef nibbles = high ? binary(BinaryOp::kShr, word, int_const(4)) : word;
      ExprRef bytes = bitcast(binary(BinaryOp::kAnd, nibbles, int_const(0x0F0F0F0F)), {DType::kU8, 4 * lanes});
      if (inner == Inner::kDot4S8)
        bytes = bitcast(bytes, {DType::kI8, 4 * lanes}) - double(weight.layout.format.zero_point());
      out[static_cast<size_t>(j + 4 * high)] = k().let("codes", bytes);
    }
  }
  return out;
}

// Four activation codes in every lane.
ExprRef Q8Matmul::activation(const QuantizedRow& row, const ExprRef& group, int step, int bytes) {
  ExprRef four = k().load_as({DType::kI32, 1}, x.buffer, row.codes(group) + double(4 * step));
  return bitcast(broadcast(four, bytes / 4), {DType::kI8, bytes});
}

// Sum over the group of (code - zero point) x activation code, i32 lanes.
ExprRef Q8Matmul::dot(const std::vector<ExprRef>& w, const QuantizedRow& row, const ExprRef& group) {
  Type sum_type{DType::kI32, lanes};
  ExprRef start = int_const(0, sum_type);
  if (inner != Inner::kDot4S8) {
    ExprRef sum = k().load_as({DType::kI32, 1}, x.buffer, row.sum(group));
    start = k().let("start", broadcast(sum * double(-weight.layout.format.zero_point()), lanes));
  }
  if (inner == Inner::kDot2) {
    ExprRef pairs;
    for (int s = 0; s < 8; ++s) {
      ExprRef product = dot2_u8s8(w[static_cast<size_t>(s)], activation(row, group, s, 4 * lanes));
      pairs = k().let("pairs", pairs ? pairs + product : product);
    }
    return dot2_i16(pairs, int_const(1, {DType::kI16, 2 * lanes})) + start;
  }
  // One row: two chains, since a chain's latency is all there is to wait for.
  int chains = rows == 1 ? 2 : 1;
  std::vector<ExprRef> acc = {start, int_const(0, sum_type)};
  for (int s = 0; s < 8; ++s) {
    ExprRef& a = acc[static_cast<size_t>(s % chains)];
    a = k().let("dot", dot4(w[static_cast<size_t>(s)], activation(row, group, s, 4 * lanes), a));
  }
  return chains == 2 ? acc[0] + acc[1] : acc[0];
}

void Q8Matmul::group(const ExprRef& column, const ExprRef& g, const std::vector<QuantizedRow>& row) {
  for (int h = 0; h < epilogue.halves(); ++h) {
    ExprRef first = weight_row(column, h);
    std::vector<ExprRef> w = codes(first, g);
    ExprRef scale = k().let("scale", weight.scales(first, g, lanes));
    for (int m = 0; m < rows; ++m) {
      const QuantizedRow& r = row[static_cast<size_t>(m)];
      ExprRef total = k().let("total", cast(dot(w, r, g), DType::kF32));
      ExprRef factor = scale * broadcast(k().load_as({DType::kF32, 1}, x.buffer, r.scale(g)), lanes);
      ExprRef slot = int_const(h * rows + m);
      k().store(sums, slot, fma(total, factor, k().load(sums, slot)));
    }
  }
}

void Q8Matmul::block(const ExprRef& column, const ExprRef& first_row) {
  ExprRef total = dim_expr(x.rows);
  std::vector<ExprRef> index;
  std::vector<QuantizedRow> row;
  for (int m = 0; m < rows; ++m) {
    index.push_back(rows == 1 ? first_row : k().let("m", binary(BinaryOp::kMin, first_row + double(m), total - 1.0)));
    row.emplace_back(x, index.back());
    row.back().base = k().let("x_at", row.back().base);
  }
  int count = epilogue.halves() * rows;
  sums = k().registers("sum", {DType::kF32, lanes}, count);
  for (int i = 0; i < count; ++i) k().store(sums, int_const(i), float_const(0, {DType::kF32, lanes}));
  k().loop("group", 0, weight.layout.groups(), LoopKind::kSerial, [&](ExprRef g) {
    if (rows == 1) {  // the weights of a later group, a fixed distance ahead in the stream of this half
      constexpr double kAhead = 2048;
      for (int h = 0; h < epilogue.halves(); ++h)
        for (int line = 0; line < lanes * 16; line += 64)
          k().prefetch(weight.buffer, weight.group_offset(weight_row(column, h), g) + (kAhead + line), 3);
    }
    group(column, g, row);
  });
  for (int m = 0; m < rows; ++m) {
    auto finish = [&] {
      std::vector<ExprRef> values;
      for (int h = 0; h < epilogue.halves(); ++h)
        values.push_back(k().let("y", k().load(sums, int_const(h * rows + m))));
      epilogue.store(index[static_cast<size_t>(m)], column, values, tail);
    };
    if (rows == 1) finish();
    else k().branch(less(first_row + double(m), total), finish);
  }
}

// Rows of a register tile: each takes an f32 sum (per half) and the integer chain; eight vectors hold weights.
int register_rows(const Target& target, int halves) {
  if (target.vector_registers >= 32) return halves == 2 ? 4 : 8;
  return halves == 2 ? 2 : 4;
}

}  // namespace

Function lower_matmul_q8(Lowering& low) {
  Matrix x = low.matrix(0, "x");
  WeightLayout layout = weight_layout(low.type(1));
  internal_check(layout.tile_rows && layout.format.bits == 4 && layout.format.group == 32,
                 str("matmul: int8 activations need a 4-bit weight in tiles, found ", low.type(1).text()));
  BufferRef weight = low.k.input("weight", DType::kU8, layout.bytes());
  Q8Matmul mm{low, x, WeightReader{low.k, layout, weight}, Epilogue(low), choose_inner(low.target)};
  int64_t columns = mm.epilogue.columns();
  mm.lanes = std::min(low.lanes(), layout.tile_rows);
  // A gated weight's second half begins at a tile border, or its rows are read one by one.
  mm.weight.scattered = mm.epilogue.halves() == 2 && columns % mm.lanes != 0;
  mm.tail = columns % mm.lanes != 0;
  mm.rows = low.single_row() ? 1 : register_rows(low.target, mm.epilogue.halves());
  int64_t vectors = (columns + mm.lanes - 1) / mm.lanes;
  // Vectors of one grid tile: some 8 KB of weights, so that claiming a tile is cheap, yet tiles for every thread.
  int64_t per_vector = layout.groups() * mm.lanes * 16 * mm.epilogue.halves();
  int64_t step = std::clamp<int64_t>(8192 / per_vector, 1, std::max<int64_t>(1, vectors / 16));
  low.k.grid("tile", (vectors + step - 1) / step, [&](ExprRef tile) {
    ExprRef first = low.k.let("first", tile * double(step));
    ExprRef count = binary(BinaryOp::kMin, int_const(step), int_const(vectors) - first);
    low.k.loop("vector", int_const(0), count, LoopKind::kSerial, [&](ExprRef v) {
      ExprRef column = low.k.let("column", (first + v) * double(mm.lanes));
      if (low.single_row()) return mm.block(column, int_const(0));
      low.k.loop("block", int_const(0), dim_expr(ceildiv(x.rows, mm.rows)), LoopKind::kSerial,
                 [&](ExprRef b) { mm.block(column, low.k.let("m0", b * double(mm.rows))); });
    });
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
