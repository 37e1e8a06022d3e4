// Layouts of quantized weights: addresses, loads, and the repack kernel.
#include "kernel/lower/cpu/weight_layouts.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/context.h"
#include "kernel/lower/float8.h"

namespace mlc::kernel {

WeightLayout weight_layout(const graph::TensorType& type) {
  internal_check(type.kind == graph::TensorType::Kind::kGroup && type.shape.size() >= 2,
                 "no quantized matrix: ", type.text());
  WeightLayout layout{type.format.for_kernels(), rows_of(type).constant(), type.shape.back().constant(), 0,
                      type.format};
  if (type.layout == graph::kPackedLayout) return layout;
  const std::string& name = type.layout;
  int rows = 0;
  if (name.starts_with(graph::kRowTiles))
    std::from_chars(name.data() + graph::kRowTiles.size(), name.data() + name.size(), rows);
  internal_check(rows == 4 || rows == 8 || rows == 16 || rows == 32, "unknown weight layout ", name);
  layout.tile_rows = rows;
  return layout;
}

std::vector<CodePiece> code_pieces(const WeightLayout& layout, int k) {
  const int bits = layout.format.bits, per_word = layout.format.codes_per_word();
  if (layout.tile_rows == 0) return {{k / per_word, k % per_word * bits, bits}};
  const int step = k / 4, byte = k % 4 * 8;
  if (bits == 8) return {{step, byte, 8}};
  if (bits == 4) return {{step % 4, byte + step / 4 * 4, 4}};
  if (step < 8) return {{step / 2, byte + step % 2 * 3, 3}};
  return {{2 * (step - 8), byte + 6, 2}, {2 * (step - 8) + 1, byte + 6, 1}};
}

CodeIndex code_index(const WeightLayout& layout, int i) {
  if (layout.tile_rows == 0) return {layout.codes_per_part(), i};
  if (layout.format.bits == 8) return {4, i};
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
  const int64_t groups = layout.scale_groups(), size = layout.scale_bytes(),
                shared = layout.groups_per_scale();
  const ExprRef of = shared == 1 ? group : group / shared;
  ExprRef element;
  if (layout.tile_rows) {
    const int64_t r = layout.tile_rows;
    element = (row / r * groups + of) * r + row % layout.tile_rows;
  } else if (layout.format.transposed) {
    element = of * layout.n + row;
  } else {
    element = row * groups + of;
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

// The scales' or the zero points' half of the pairs.
ExprRef WeightReader::pair_half(const ExprRef& row, const ExprRef& group, int lanes, int half) const {
  ExprRef pairs =
      lanes_from(row, lanes, {DType::kU32, 1}, [&](ExprRef r) { return scale_offset(std::move(r), group); });
  const DType dtype = layout.file.zero == WeightFormat::Zero::kPaired ? DType::kBF16 : layout.format.dtype;
  std::vector<int> pattern;
  for (int i = 0; i < lanes; ++i) pattern.push_back(2 * i + half);
  return cast(shuffle({bitcast(pairs, {dtype, 2 * lanes})}, pattern), DType::kF32);
}

ExprRef WeightReader::offsets(ExprRef row, ExprRef group, int lanes, const ExprRef& scales) const {
  if (!layout.has_offsets()) return nullptr;
  const double zero = layout.format.zero_point();
  ExprRef stored = pair_half(row, group, lanes, 1);
  if (layout.file.zero == WeightFormat::Zero::kPaired) return stored + scales * zero;
  return (stored - zero) * unary(UnaryOp::kNeg, scales);
}

ExprRef WeightReader::scales(ExprRef row, ExprRef group, int lanes) const {
  if (layout.has_offsets()) return pair_half(row, group, lanes, 0);
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
    if (piece.bits < 8 || repeat == 1)  // else all bits of the word
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
  if (layout.format.is_float8()) return float8_numbers(k, layout.format.code, cast(codes, DType::kU32));
  return cast(cast(codes, DType::kI32) - layout.format.zero_point(), DType::kF32);
}

namespace {

// The records of a weight, and what lies where in them.
struct Records {
  KernelBuilder& k;
  const WeightLayout& layout;  // that is made of them
  BufferRef codes = nullptr, scales = nullptr, zeros = nullptr;

  const WeightFormat& file() const { return layout.file; }
  bool along_n() const { return file().along == WeightFormat::Along::kN; }
  int64_t words_of_n() const { return (layout.n + file().codes_per_word() - 1) / file().codes_per_word(); }
  // Of a record of one element for each row (or word of rows) and group, `lines` of them in all.
  ExprRef element(const ExprRef& line, const ExprRef& group, int64_t lines) const {
    return file().transposed ? group * lines + line : line * file().groups(layout.k) + group;
  }
  // Which of the rows of scales is a row's.
  ExprRef scale_line(const ExprRef& row) const {
    if (file().group_n == 0) return int_const(0);
    return file().group_n == 1 ? row : row / int64_t{file().group_n};
  }
  ExprRef file_group(const ExprRef& group) const {
    if (file().group == 0) return int_const(0);
    const int64_t parts = file().group / layout.format.group;
    return parts == 1 ? group : group / parts;
  }
  // From which bit on a word along N has the code of a row.
  ExprRef lane_shift(const ExprRef& row) const {
    ExprRef lane = row % file().codes_per_word();
    const int64_t bits = file().bits;
    ExprRef shift =
        file().order == WeightFormat::Order::kAwq ? lane % 2 * (4 * bits) + lane / 2 * bits : lane * bits;
    return cast(shift, DType::kU32);
  }
  ExprRef code_of(const ExprRef& word, const ExprRef& row) const {
    ExprRef code = binary(BinaryOp::kShr, word, lane_shift(row));
    return binary(BinaryOp::kAnd, code, int_const((1 << file().bits) - 1, code->type));
  }

  void declare(const WeightFormat& format, int64_t n, int64_t columns);
  std::vector<ExprRef> words(const ExprRef& row, const ExprRef& group, const ExprRef& mask) const;
  ExprRef word_of(const ExprRef& row, const ExprRef& word, const ExprRef& mask) const;
  ExprRef word_of_bytes(const ExprRef& row, const ExprRef& word, const ExprRef& mask) const;
  CodePiece place(int i) const;
  void store_scale(const BufferRef& out, const ExprRef& at, const ExprRef& row, const ExprRef& group) const;
};

void Records::declare(const WeightFormat& format, int64_t n, int64_t columns) {
  for (const FormatRecord& record : format_records(format, {n, columns})) {
    int64_t size = 1;
    for (int64_t extent : record.shape) size *= extent;
    switch (record.part) {
      case FormatRecord::Part::kCodes:
        codes = k.input("codes", size_of(record.dtype) == 1 ? DType::kU8 : record.dtype, size);
        break;
      case FormatRecord::Part::kInputScale: break;
      case FormatRecord::Part::kScales: scales = k.input("scales", record.dtype, size); break;
      default: zeros = k.input("zeros", record.dtype, size);
    }
  }
}

// u32 word `word` of the rows, of those with codes along K. A word of ten codes is two u16 of the file; of a
// file's last group kernels may have no use for the last words.
ExprRef Records::word_of(const ExprRef& row, const ExprRef& word, const ExprRef& mask) const {
  const int rows = row->type.lanes;
  auto load = [&](const ExprRef& at) {
    ExprRef index = file().transposed ? row + broadcast(at * layout.n, rows)
                                      : row * file().words(layout.k) + broadcast(at, rows);
    return k.gather(codes, index, mask);
  };
  if (file().container == DType::kU32) return load(word);
  if (size_of(file().container) == 1) return word_of_bytes(row, word, mask);
  ExprRef low = cast(load(word * 2), DType::kU32), high = cast(load(word * 2 + 1), DType::kU32);
  return binary(BinaryOp::kOr, binary(BinaryOp::kAnd, low, int_const(0x7FFF)),
                binary(BinaryOp::kShl, binary(BinaryOp::kAnd, high, int_const(0x7FFF)), int_const(15)));
}

// Four codes of rows that are bytes; 0 past their end.
ExprRef Records::word_of_bytes(const ExprRef& row, const ExprRef& word, const ExprRef& mask) const {
  const int rows = row->type.lanes;
  const bool cut = layout.k % layout.format.group != 0;
  ExprRef out;
  for (int i = 0; i < 4; ++i) {
    ExprRef column = k.let("column", word * 4 + i), at = column;
    if (cut) at = binary(BinaryOp::kMin, column, int_const(layout.k - 1));
    ExprRef code = cast(k.gather(codes, row * layout.k + broadcast(at, rows), mask), DType::kU32);
    if (cut) code = code * broadcast(cast(less(column, int_const(layout.k)), DType::kU32), rows);
    out = i ? binary(BinaryOp::kOr, out, binary(BinaryOp::kShl, code, int_const(8 * i))) : code;
  }
  return out;
}

// Words with all codes of a group of the rows, one lane each: as they lie along K, or one for each code.
std::vector<ExprRef> Records::words(const ExprRef& row, const ExprRef& group, const ExprRef& mask) const {
  const int rows = row->type.lanes;
  std::vector<ExprRef> words;
  if (along_n())
    for (int i = 0; i < layout.format.group; ++i) {
      ExprRef column = binary(BinaryOp::kMin, group * layout.format.group + i, int_const(layout.k - 1));
      ExprRef index = file().transposed
                          ? row / file().codes_per_word() + broadcast(column * words_of_n(), rows)
                          : row / file().codes_per_word() * layout.k + broadcast(column, rows);
      words.push_back(k.let("code", code_of(k.gather(codes, index, mask), row)));
    }
  else
    for (int w = 0; w < 4; ++w) words.push_back(k.let("word", word_of(row, group * 4 + w, mask)));
  return words;
}

// Where code i of a group lies in words().
CodePiece Records::place(int i) const {
  if (along_n()) return {i, 0, file().bits};
  WeightLayout packed = layout;
  packed.tile_rows = 0;
  return code_pieces(packed, i).front();  // the file splits no code
}

// What the layout keeps of a row's scale, and of its zero point.
void Records::store_scale(const BufferRef& out, const ExprRef& at, const ExprRef& row,
                          const ExprRef& group) const {
  if (!scales) return k.store(out, at, float_const(1, {layout.format.dtype, 1}));
  ExprRef line = file_group(group);
  k.store(out, at, k.load(scales, element(scale_line(row), line, file().scale_rows(layout.n))));
  if (!zeros) return;
  ExprRef word = k.load(zeros, element(row / file().codes_per_word(), line, words_of_n()));
  ExprRef zero =
      cast(cast(code_of(word, row), DType::kI32), DType::kF32) + static_cast<double>(file().zero_plus);
  k.store(out, at + 2, cast(zero, file().dtype));
}

// One group of one tile: the file's words of R rows (one lane each) become the layout's words.
void repack_group(KernelBuilder& k, const Records& from, const WeightLayout& to, const BufferRef& out,
                  const ExprRef& tile, const ExprRef& group) {
  int rows = to.tile_rows;
  ExprRef row = ramp(tile * rows, 1, rows);
  ExprRef mask;
  if (to.n % rows != 0) mask = less(row, int_const(to.n));
  const std::vector<ExprRef> source = from.words(row, group, mask);
  std::vector<ExprRef> target(4);
  for (int i = 0; i < to.format.group; ++i) {
    const CodePiece at = from.place(i);
    int done = 0;  // bits
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

void repack_scales(KernelBuilder& k, const Records& from, const WeightLayout& to, const BufferRef& out,
                   const ExprRef& tile, const ExprRef& group) {
  for (int r = 0; r < to.tile_rows; ++r) {
    ExprRef row = tile * to.tile_rows + r;
    ExprRef line = to.groups_per_scale() == 1 ? group : group / to.groups_per_scale();
    ExprRef at =
        ((tile * to.scale_groups() + line) * to.tile_rows + r) * to.scale_bytes() + to.scale_offset();
    if (to.n % to.tile_rows == 0) {
      from.store_scale(out, at, row, group);
    } else {
      k.branch(
          less(row, int_const(to.n)), [&] { from.store_scale(out, at, row, group); },
          [&] {
            if (to.has_offsets()) return k.store(out, at, int_const(0, {DType::kU32, 1}));
            k.store(out, at, float_const(0, {to.format.dtype, 1}));
          });
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
  const WeightLayout to = weight_layout(parameter);
  internal_check(to.tile_rows || to.file.is_for_kernels(), "packed weights lie as kernels take them");
  if (to.tile_rows == 0) return copy_packed(to);
  KernelBuilder k("repack");
  Records from{k, to};
  from.declare(to.file, to.n, to.k);
  BufferRef out = k.output("out", DType::kU8, to.bytes());
  k.grid("tile", to.padded_rows() / to.tile_rows, [&](ExprRef tile) {
    k.loop("group", 0, to.groups(), LoopKind::kSerial, [&](ExprRef group) {
      repack_group(k, from, to, out, tile, group);
      repack_scales(k, from, to, out, tile, group);
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
