// Layouts of quantized weights: addresses, loads, and the repack kernel.
#include "kernel/lower/cpu/weight_layouts.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {

WeightLayout weight_layout(const graph::TensorType& type) {
  internal_check(type.kind == graph::TensorType::Kind::kGroup && type.shape.size() == 2 &&
                     type.shape[0].is_const() && type.shape[1].is_const(),
                 str("no quantized matrix: ", type.text()));
  WeightLayout layout{type.format, type.shape[0].constant(), type.shape[1].constant(), 0};
  if (type.layout == graph::kPackedLayout) return layout;
  const std::string& name = type.layout;
  int rows = 0;
  if (name.starts_with(graph::kRowTiles))
    std::from_chars(name.data() + graph::kRowTiles.size(), name.data() + name.size(), rows);
  internal_check(rows == 4 || rows == 8 || rows == 16 || rows == 32, str("unknown weight layout ", name));
  layout.tile_rows = rows;
  return layout;
}

std::vector<CodePiece> code_pieces(const WeightLayout& layout, int k) {
  const int bits = layout.format.bits, per_word = layout.format.codes_per_word();
  if (layout.tile_rows == 0) return {{k / per_word, k % per_word * bits, bits}};
  const int step = k / 4, byte = k % 4 * 8;
  if (bits == 4) return {{step % 4, byte + step / 4 * 4, 4}};
  if (step < 8) return {{step / 2, byte + step % 2 * 3, 3}};
  return {{2 * (step - 8), byte + 6, 2}, {2 * (step - 8) + 1, byte + 6, 1}};
}

CodeIndex code_index(const WeightLayout& layout, int i) {
  if (layout.tile_rows == 0) return {layout.codes_per_part(), i};
  if (layout.format.bits == 4) return {4, i / 4 * 16 + i % 4};
  return i < 16 ? CodeIndex{16, i} : CodeIndex{4, 16 + i};
}

ExprRef WeightReader::word_offset(ExprRef row, ExprRef group, ExprRef word) const {
  const int64_t groups = layout.groups();
  if (layout.tile_rows) {
    const int64_t r = layout.tile_rows;
    return ((row / r * groups + group) * 4 + word) * (r * 4) + row % layout.tile_rows * 4;
  }
  if (layout.format.transposed) return ((group * 4 + word) * layout.n + row) * 4;
  return (row * groups + group) * 16 + word * 4;
}

ExprRef WeightReader::scale_offset(ExprRef row, ExprRef group) const {
  const int64_t groups = layout.groups(), size = size_of(layout.format.dtype);
  ExprRef element;
  if (layout.tile_rows) {
    const int64_t r = layout.tile_rows;
    element = (row / r * groups + group) * r + row % layout.tile_rows;
  } else if (layout.format.transposed) {
    element = group * layout.n + row;
  } else {
    element = row * groups + group;
  }
  return element * size + layout.scale_offset();
}

ExprRef WeightReader::lanes_from(ExprRef row, int lanes, Type type,
                                 const std::function<ExprRef(ExprRef)>& offset) const {
  if (lanes == 1) return k.load_as(type, buffer, offset(row));
  bool contiguous = !scattered && (layout.tile_rows ? lanes <= layout.tile_rows : false);
  if (contiguous) return k.load_as(type.with_lanes(lanes), buffer, offset(row));
  std::vector<ExprRef> parts;
  std::vector<int> pattern;
  ExprRef last = int_const(layout.padded_rows() - 1);
  for (int i = 0; i < lanes; ++i) {
    ExprRef at = row + i;
    if (layout.n % lanes != 0 || scattered) at = binary(BinaryOp::kMin, at, last);
    parts.push_back(k.load_as(type, buffer, offset(at)));
    pattern.push_back(i);
  }
  return shuffle(parts, pattern);
}

ExprRef WeightReader::words(ExprRef row, ExprRef group, ExprRef word, int lanes) const {
  return lanes_from(std::move(row), lanes, {DType::kU32, 1},
                    [&](ExprRef r) { return word_offset(std::move(r), group, word); });
}

ExprRef WeightReader::scales(ExprRef row, ExprRef group, int lanes) const {
  return cast(lanes_from(std::move(row), lanes, {layout.format.dtype, 1},
                         [&](ExprRef r) { return scale_offset(std::move(r), group); }),
              DType::kF32);
}

// The code at its place in each of `repeat`'s ones.
ExprRef WeightReader::masked(const std::vector<ExprRef>& words, int k, int64_t repeat) const {
  ExprRef out;
  int done = 0;  // bits
  for (const CodePiece& piece : code_pieces(layout, k)) {
    ExprRef bits = words[static_cast<size_t>(piece.word)];
    if (int by = piece.shift - done) bits = binary(BinaryOp::kShr, bits, int_const(by));
    bits = binary(BinaryOp::kAnd, bits, int_const((((1 << piece.bits) - 1) << done) * repeat));
    out = out ? binary(BinaryOp::kOr, out, bits) : bits;
    done += piece.bits;
  }
  return out;
}

ExprRef WeightReader::step(const std::vector<ExprRef>& words, int s) const {
  ExprRef bytes = masked(words, 4 * s, 0x01010101);
  return bitcast(bytes, {DType::kU8, 4 * bytes->type.lanes});
}

ExprRef WeightReader::centered(const ExprRef& codes) const {
  return cast(cast(codes, DType::kI32) - layout.format.zero_point(), DType::kF32);
}

namespace {

// One group of one tile: the file's words of R rows (one lane each) become the layout's words.
void repack_group(KernelBuilder& k, const WeightLayout& from, const WeightLayout& to, const BufferRef& codes,
                  const BufferRef& out, const ExprRef& tile, const ExprRef& group) {
  int rows = to.tile_rows;
  ExprRef row = ramp(tile * rows, 1, rows);
  ExprRef mask;
  if (to.n % rows != 0) mask = less(row, int_const(to.n));
  std::vector<ExprRef> source, target(4);
  for (int w = 0; w < 4; ++w) {
    ExprRef index = from.format.transposed ? row + broadcast((group * 4 + w) * from.n, rows)
                                           : row * (from.groups() * 4) + broadcast(group * 4 + w, rows);
    source.push_back(k.let("word", k.gather(codes, index, mask)));
  }
  for (int i = 0; i < to.format.group; ++i) {
    const CodePiece at = code_pieces(from, i).front();  // the file splits no code
    int done = 0;                                       // bits
    for (const CodePiece& piece : code_pieces(to, i)) {
      ExprRef bits = source[static_cast<size_t>(at.word)];
      if (int by = at.shift + done) bits = binary(BinaryOp::kShr, bits, int_const(by));
      bits = binary(BinaryOp::kAnd, bits, int_const((1 << piece.bits) - 1));
      if (piece.shift) bits = binary(BinaryOp::kShl, bits, int_const(piece.shift));
      ExprRef& word = target[static_cast<size_t>(piece.word)];
      word = k.let("packed", word ? binary(BinaryOp::kOr, word, bits) : bits);
      done += piece.bits;
    }
  }
  for (int w = 0; w < 4; ++w)
    k.store(out, ((tile * to.groups() + group) * 4 + w) * (rows * 4), target[size_t(w)]);
}

void repack_scales(KernelBuilder& k, const WeightLayout& from, const WeightLayout& to,
                   const BufferRef& scales, const BufferRef& out, const ExprRef& tile, const ExprRef& group) {
  for (int r = 0; r < to.tile_rows; ++r) {
    ExprRef row = tile * to.tile_rows + r;
    ExprRef index = from.format.transposed ? group * from.n + row : row * from.groups() + group;
    int64_t size = size_of(to.format.dtype);
    ExprRef at = ((tile * to.groups() + group) * to.tile_rows + r) * size + to.scale_offset();
    Type type{to.format.dtype, 1};
    if (to.n % to.tile_rows == 0) {
      k.store(out, at, k.load(scales, index));
    } else {
      k.branch(
          less(row, int_const(to.n)), [&] { k.store(out, at, k.load(scales, index)); },
          [&] { k.store(out, at, float_const(0, type)); });
    }
  }
}

// The packed buffer is the file's arrays one after the other.
Function copy_packed(const WeightLayout& layout) {
  KernelBuilder k("repack");
  int64_t words = layout.n * layout.groups() * 4, scales = layout.n * layout.groups();
  BufferRef codes = k.input("codes", DType::kU32, words);
  BufferRef scale = k.input("scales", layout.format.dtype, scales);
  BufferRef out = k.output("out", DType::kU8, layout.bytes());
  k.grid("row", layout.n, [&](ExprRef row) {
    k.loop("i", 0, layout.groups() * 4, LoopKind::kSerial, [&](ExprRef i) {
      ExprRef at = k.let("at", row * (layout.groups() * 4) + i);
      k.store(out, at * 4, k.load(codes, at));
    });
    k.loop("i", 0, layout.groups(), LoopKind::kSerial, [&](ExprRef i) {
      ExprRef at = k.let("at", row * layout.groups() + i);
      k.store(out, at * size_of(layout.format.dtype) + layout.scale_offset(), k.load(scale, at));
    });
  });
  return k.finish();
}

}  // namespace

Function lower_repack(const graph::TensorType& parameter, const Target&) {
  WeightLayout to = weight_layout(parameter), from = to;
  from.tile_rows = 0;
  if (to.tile_rows == 0) return copy_packed(to);
  KernelBuilder k("repack");
  BufferRef codes = k.input("codes", DType::kU32, to.n * to.groups() * 4);
  BufferRef scales = k.input("scales", to.format.dtype, to.n * to.groups());
  BufferRef out = k.output("out", DType::kU8, to.bytes());
  k.grid("tile", to.padded_rows() / to.tile_rows, [&](ExprRef tile) {
    k.loop("group", 0, to.groups(), LoopKind::kSerial, [&](ExprRef group) {
      repack_group(k, from, to, codes, out, tile, group);
      repack_scales(k, from, to, scales, out, tile, group);
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
