// Many rows on GPUs with matrix units: tiles of weights and activations in shared memory as halves, matrices
// of sums in each subgroup.
//
// A step along K is one group of the weight. Both tiles lie [row][k] in 16-byte chunks, 4 elements of the
// first half of the group each in a word with one of the second half: products do not see in which order k
// is, and codes and loads come so. A line is one chunk longer than a group of 32, so that eight neighbouring
// lines start in different banks, for the matrix loads and for the stores. The weight rows of a tile lie in
// the order of their scales, as in gpu_matmul_shared.cpp. The sums pass through shared memory once, at the
// end and in parts: which lane holds which element is the device's secret.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "kernel/lower/gpu/matmul.h"

namespace mlc::kernel {
namespace {

constexpr int kChunkWords = 4;

struct MatrixTile : GroupTile {
  using GroupTile::GroupTile;
  MatrixUnit unit;
  int per_n = 0, per_m = 0;         // matrices of sums of a subgroup
  BufferRef weights, inputs, sums;  // shared: u32x4, u32x4 and f32
  ExprRef subgroup_n, subgroup_m;   // the subgroup's first row of each tile

  int along_n() const { return width / (per_n * unit.columns); }
  int threads() const { return along_n() * (height / (per_m * unit.rows)) * gpu.lanes; }
  int64_t line_chunks() const { return chunks() + 1; }
  int64_t sum_stride() const { return width + 4; }
  int64_t pass_rows() const { return height / per_m; }
  // The place of a weight row in the tile: weight_row() backwards.
  static ExprRef place_of(const ExprRef& row) {
    return row / kLaneRows * kLaneRows + row % 8 * 4 + row % kLaneRows / 8;
  }
  int chunks() const { return w.format.group / 8; }
  bool computes_in_halves() const {
    return gpu.target.half_arithmetic && w.format.bits == 4 && w.format.group == 32 &&
           w.format.dtype == DType::kF16 && !w.has_offsets();
  }
  std::vector<ExprRef> unpack(const ExprRef& bits, const GroupScale& s);
  ExprRef chunk_codes(const ExprRef& bits, int c) const;
  ExprRef half_codes(const ExprRef& codes, int i, const ExprRef& scale);
  void load_weights(const ExprRef& g);
  void load_inputs(GroupReader& reader, const ExprRef& g);
  void multiply(const BufferRef& acc, const BufferRef& a, const BufferRef& b);
  void store_pass(const BufferRef& acc, int i);
};

// The halves of a row's group, words of two in the order of the tile.
std::vector<ExprRef> MatrixTile::unpack(const ExprRef& bits, const GroupScale& s) {
  std::vector<ExprRef> words;
  if (computes_in_halves()) {
    const ExprRef scale = k().let("scale", pack_half(broadcast(s.scale, 2)));
    for (int c = 0; c < chunks(); ++c) {
      const ExprRef codes = k().let("codes", chunk_codes(bits, c));
      for (int i = 0; i < kChunkWords; ++i) words.push_back(k().let("halves", half_codes(codes, i, scale)));
    }
    return words;
  }
  ExprRef scale = k().let("scale", s.scale), zero = k().let("zero", w.code_zero({scale, s.offset}));
  const int per_word = w.format.codes_per_word();
  auto element = [&](int i) {
    ExprRef code = w.codes_at(k(), extract(bits, i / per_word), i % per_word);
    return fma(code, scale * std::ldexp(1.0, -w.code_exponent(i % per_word)), zero);
  };
  for (int i = 0; i < w.format.group / 2; ++i)
    words.push_back(k().let("halves", pack_half(vector_of({element(i), element(i + w.format.group / 2)}))));
  return words;
}

// The 4-bit codes of chunk c in one word, those of its second half in the high half of the word.
ExprRef MatrixTile::chunk_codes(const ExprRef& bits, int c) const {
  const ExprRef first = extract(bits, c / 2), second = extract(bits, c / 2 + chunks() / 2);
  constexpr int64_t kLow = 0xFFFF, kHigh = 0xFFFF0000;
  if (c % 2 == 0)
    return binary(BinaryOp::kOr, binary(BinaryOp::kAnd, first, int_const(kLow)),
                  binary(BinaryOp::kShl, second, int_const(16)));
  return binary(BinaryOp::kOr, binary(BinaryOp::kShr, first, int_const(16)),
                binary(BinaryOp::kAnd, second, int_const(kHigh)));
}

// The codes at bits 4 i of both halves of a word, as halves times the scale: below the exponent of 1024 a
// code is the low bits of a half and counts 1 or, where it lies four bits higher, 16. What is subtracted
// leaves it exact, so that the only rounding is that of the product with the scale.
ExprRef MatrixTile::half_codes(const ExprRef& codes, int i, const ExprRef& scale) {
  const bool high = i % 2;
  auto both = [](double v) {
    const int64_t half = f32_to_f16(static_cast<float>(v));
    return int_const(half << 16 | half, {DType::kU32, 1});
  };
  const int64_t mask = high ? 0x00F000F0 : 0x000F000F;
  const ExprRef low = i < 2 ? codes : binary(BinaryOp::kShr, codes, int_const(8));
  const ExprRef shifted = binary(BinaryOp::kOr, binary(BinaryOp::kAnd, low, int_const(mask)), both(1024));
  const double begin = (high ? 1024.0 / 16 : 1024) + w.format.zero_point();
  return half_fma(k().let("code", half_fma(shifted, both(high ? 1.0 / 16 : 1), both(-begin))), scale,
                  both(0));
}

// A thread unpacks a row's group: neighbouring lanes read neighbouring 16 bytes.
void MatrixTile::load_weights(const ExprRef& g) {
  gpu.for_units(width, threads(), thread, [&](ExprRef place, ExprRef inside) {
    gpu.where(inside, [&] {
      ExprRef row = weight_row(place), from = k().let("place", w.place(row, g)),
              bits = k().let("bits", w.codes(k(), weight, from));
      const std::vector<ExprRef> words = unpack(bits, w.scales(k(), weight, w.scale_place(row, g, from))[0]);
      ExprRef to = k().let("to", place * line_chunks());
      for (size_t c = 0; c < words.size() / kChunkWords; ++c)
        k().store(weights, to + static_cast<int64_t>(c),
                  vector_of({words[4 * c], words[4 * c + 1], words[4 * c + 2], words[4 * c + 3]}));
    });
  });
}

// A thread takes 4 elements of each half of the group. Rows past the last are not read; what comes of them is
// not stored. Two rows that are filled at once are four apart: their lines start half of the banks apart.
void MatrixTile::load_inputs(GroupReader& reader, const ExprRef& g) {
  gpu.for_units(int64_t{chunks()} * height, threads(), thread, [&](ExprRef task, ExprRef inside) {
    ExprRef chunk = k().let("chunk", task % chunks()), line = k().let("line", task / chunks());
    ExprRef local = k().let("local", line - line % 8 + (line % 2 * 4 + line % 8 / 2));
    ExprRef row = k().let("row", first_row + local), exists = less(row, end);
    gpu.where(inside ? binary(BinaryOp::kAnd, inside, exists) : exists, [&] {
      ExprRef first = reader.elements(row, g, chunk), second = reader.elements(row, g, chunk + chunks());
      std::vector<ExprRef> halves;
      for (int i = 0; i < kChunkWords; ++i) halves.push_back(pack_half(shuffle({first, second}, {i, i + 4})));
      k().store(inputs, local * line_chunks() + chunk, vector_of(halves));
    });
  });
}

void MatrixTile::multiply(const BufferRef& acc, const BufferRef& a, const BufferRef& b) {
  for (int step = 0; step < w.format.group; step += unit.depth) {
    for (int i = 0; i < per_m; ++i)
      k().matrix_load({a, i}, inputs, (subgroup_m + i * unit.rows) * line_chunks() + step / 8, line_chunks(),
                      MatrixOrder::kRows);
    for (int j = 0; j < per_n; ++j)
      k().matrix_load({b, j}, weights, (subgroup_n + j * unit.columns) * line_chunks() + step / 8,
                      line_chunks(), MatrixOrder::kColumns);
    for (int i = 0; i < per_m; ++i)
      for (int j = 0; j < per_n; ++j) k().matrix_multiply({acc, i * per_n + j}, {a, i}, {b, j});
  }
}

// The sums of matrices number `i` of each subgroup, one below the other in shared memory.
void MatrixTile::store_pass(const BufferRef& acc, int i) {
  for (int j = 0; j < per_n; ++j)
    k().matrix_store({acc, i * per_n + j}, sums,
                     (subgroup_m / per_m) * sum_stride() + subgroup_n + j * unit.columns, sum_stride(),
                     MatrixOrder::kRows);
  k().barrier();
  gpu.for_units(pass_rows() * columns(), threads(), thread, [&](ExprRef task, ExprRef inside) {
    ExprRef local = k().let("local", task % columns()), line = k().let("line", task / columns());
    ExprRef column = k().let("column", first_column + local);
    ExprRef row =
        k().let("row", first_row + line / unit.rows * (per_m * unit.rows) + i * unit.rows + line % unit.rows);
    ExprRef exists = less(row, end);
    if (epilogue.columns() % columns())
      exists = binary(BinaryOp::kAnd, exists, less(column, int_const(epilogue.columns())));
    gpu.where(inside ? binary(BinaryOp::kAnd, inside, exists) : exists, [&] {
      std::vector<ExprRef> values;
      for (int h = 0; h < epilogue.halves(); ++h)
        values.push_back(k().let("y", k().load(sums, line * sum_stride() + place_of(local + h * columns()))));
      epilogue.store(row, column, values);
    });
  });
}

}  // namespace

bool fits_matrix_unit(const GpuLowering& gpu) {
  const MatrixUnit& unit = gpu.target.matrix_unit;
  const WeightFormat format = gpu.type(1).format.for_kernels();
  return unit.rows > 0 && format.group % unit.depth == 0 && format.group % 8 == 0 &&
         format.codes_per_word() % 2 == 0;
}

Function gpu_matmul_matrix(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  MatrixTile tile(gpu);
  const GpuSchedule& s = tile.gpu.schedule;
  const LaneWeight& w = tile.w;
  const MatrixUnit& unit = tile.unit = gpu.target.matrix_unit;
  tile.width = s.matrix_width, tile.height = s.matrix_height, tile.per_n = s.matrix_per_n,
  tile.per_m = s.matrix_per_m;
  tile.run(tile.threads(), tile.gpu.lanes, [&] {
    tile.weights = k.shared("weights", Type{DType::kU32, 4}, tile.width * tile.line_chunks());
    tile.inputs = k.shared("inputs", Type{DType::kU32, 4}, tile.height * tile.line_chunks());
    tile.sums = k.shared("sums", DType::kF32, tile.pass_rows() * tile.sum_stride());
    ExprRef subgroup = k.let("subgroup", tile.thread / tile.gpu.lanes);
    tile.subgroup_n = k.let("subgroup_n", subgroup % tile.along_n() * (tile.per_n * unit.columns));
    tile.subgroup_m = k.let("subgroup_m", subgroup / tile.along_n() * (tile.per_m * unit.rows));
    GroupReader reader(tile.gpu, tile.x, w, tile.thread);
    using Role = Fragment::Role;
    BufferRef a = k.fragments("a", DType::kF16, {Role::kA, unit.rows, unit.depth}, tile.per_m);
    BufferRef b = k.fragments("b", DType::kF16, {Role::kB, unit.depth, unit.columns}, tile.per_n);
    BufferRef acc =
        k.fragments("acc", DType::kF32, {Role::kSum, unit.rows, unit.columns}, tile.per_n * tile.per_m);
    for (int i = 0; i < tile.per_n * tile.per_m; ++i) k.matrix_clear({acc, i});
    k.loop("g", 0, w.groups(), LoopKind::kSerial, [&](ExprRef g) {
      tile.load_weights(g);
      tile.load_inputs(reader, g);
      k.barrier();
      tile.multiply(acc, a, b);
      k.barrier();
    });
    for (int i = 0; i < tile.per_m; ++i) {
      if (i > 0) k.barrier();
      tile.store_pass(acc, i);
    }
  });
  return k.finish();
}

}  // namespace mlc::kernel
