// Quantized weights on GPUs: addresses, codes, the repack kernel, and take.
#include "kernel/lower/gpu/weight.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/float8.h"
#include "kernel/lower/gpu/lowerings.h"
#include "kernel/lower/lowerings.h"
#include "kernel/lower/take.h"

namespace mlc::kernel {

LaneWeight lane_weight(const graph::TensorType& type) {
  internal_check(
      type.kind == graph::TensorType::Kind::kGroup && type.shape.size() >= 2 && type.layout == kLaneLayout,
      "no quantized matrix in the layout ", kLaneLayout, ": ", type.text());
  return {type.format.for_kernels(), rows_of(type).constant(), type.shape.back().constant(), type.format};
}

ExprRef LaneWeight::place(const ExprRef& row, const ExprRef& group) const {
  constexpr int64_t rows = kLaneRows;
  return (row / rows * groups() + group) * rows + row % kLaneRows;
}

ExprRef LaneWeight::codes(KernelBuilder& k, const BufferRef& buffer, const ExprRef& place) const {
  return k.load(buffer, place * 4, 4);
}

ExprRef LaneWeight::scale_place(const ExprRef& row, const ExprRef& group, const ExprRef& place) const {
  if (groups_per_scale() == 1) {
    ExprRef lane = place % kLaneRows;
    return place - lane + (lane % 8 * 4 + lane / 8);
  }
  constexpr int64_t rows = kLaneRows;
  ExprRef lane = row % kLaneRows;
  return row / rows * (scale_groups() * rows) + scale_step(group) + (lane % 8 * 4 + lane / 8);
}

std::vector<GroupScale> LaneWeight::scales(KernelBuilder& k, const BufferRef& buffer, const ExprRef& at,
                                           int n) const {
  const int64_t base = code_words();
  std::vector<GroupScale> out;
  if (has_offsets()) {
    const bool paired = file.zero == WeightFormat::Zero::kPaired;
    const double zero = format.zero_point();
    ExprRef words = k.let("pairs", k.load(buffer, at + base, n));
    for (int i = 0; i < n; ++i) {
      ExprRef pair = k.let("pair", unpack_pair(paired ? DType::kBF16 : DType::kF16, extract(words, i)));
      ExprRef scale = k.let("scale", extract(pair, 0)), stored = extract(pair, 1);
      out.push_back(
          {scale, k.let("offset", paired ? stored + scale * zero : (stored - zero) * (scale * -1.0))});
    }
    return out;
  }
  if (format.dtype == DType::kF32) {
    ExprRef all = k.let("scales", bitcast(k.load(buffer, at + base, n), {DType::kF32, n}));
    for (int i = 0; i < n; ++i) out.push_back({k.let("scale", extract(all, i))});
    return out;
  }
  ExprRef words = k.let("scales", k.load(buffer, at / 2 + base, std::max(1, n / 2)));
  for (int i = 0; i < n; i += 2) {
    ExprRef pair = k.let("pair", unpack_pair(format.dtype, extract(words, i / 2)));
    if (n == 1)
      return {{k.let(
          "scale", select(binary(BinaryOp::kEq, at % 2, int_const(0)), extract(pair, 0), extract(pair, 1)))}};
    for (int half = 0; half < 2; ++half) out.push_back({k.let("scale", extract(pair, half))});
  }
  return out;
}

int LaneWeight::code_exponent(int position) const {
  int shift = position * format.bits;
  if (format.is_float8()) return 0;
  return shift + format.bits > 31 ? 0 : shift;  // a mask there would make a negative number
}

ExprRef LaneWeight::codes_at(KernelBuilder& k, const ExprRef& words, int position) const {
  int shift = position * format.bits;
  ExprRef bits;
  if (format.is_float8()) {
    bits = shift ? binary(BinaryOp::kShr, words, int_const(shift)) : words;
    return float8_numbers(k, format.code, binary(BinaryOp::kAnd, bits, int_const(0xFF)));
  }
  if (code_exponent(position) == shift) {
    int64_t mask = ((int64_t{1} << format.bits) - 1) << shift;
    bits = binary(BinaryOp::kAnd, words, int_const(mask));
  } else {
    bits = binary(BinaryOp::kShr, words, int_const(shift));  // the highest code: nothing is left above it
  }
  return cast(bitcast(bits, words->type.with_dtype(DType::kI32)), DType::kF32);
}

namespace {

// The records of a weight, and the words of the layout that are made of them.
struct Records {
  GpuLowering& gpu;
  const LaneWeight& w;
  BufferRef codes = nullptr, zeros = nullptr;
  Operand scales;

  const WeightFormat& file() const { return w.file; }
  bool along_n() const { return file().along == WeightFormat::Along::kN; }
  int64_t words_of_n() const { return (w.n + file().codes_per_word() - 1) / file().codes_per_word(); }
  // Of a record of one element for each row (or word of rows) and group, `lines` of them in all.
  ExprRef element(const ExprRef& line, const ExprRef& group, int64_t lines) const {
    return file().transposed ? group * lines + line : line * file().groups(w.k) + group;
  }
  // The rows of scales that there are, and which of them is a row's.
  int64_t scale_lines() const { return file().scale_rows(w.n); }
  ExprRef scale_line(const ExprRef& row) const {
    if (file().group_n == 0) return int_const(0);
    return file().group_n == 1 ? row : row / int64_t{file().group_n};
  }
  ExprRef file_group(const ExprRef& group) const {
    if (file().group == 0) return int_const(0);
    const int64_t parts = file().group / w.format.group;
    return parts == 1 ? group : group / parts;
  }
  ExprRef code_of(const ExprRef& word, const ExprRef& row) const {
    ExprRef lane = row % file().codes_per_word();
    const int64_t bits = file().bits;
    ExprRef shift =
        file().order == WeightFormat::Order::kAwq ? lane % 2 * (4 * bits) + lane / 2 * bits : lane * bits;
    return binary(BinaryOp::kAnd, binary(BinaryOp::kShr, word, cast(shift, DType::kU32)),
                  int_const((1 << file().bits) - 1));
  }

  void declare();
  ExprRef code_word(const ExprRef& row, const ExprRef& group, const ExprRef& word) const;
  ExprRef word_of(const ExprRef& row, const ExprRef& word) const;
  ExprRef word_of_bytes(const ExprRef& row, const ExprRef& word) const;
  ExprRef scale_word(const ExprRef& i) const;

 private:
  ExprRef scale_bits(const ExprRef& at) const;
};

void Records::declare() {
  for (const FormatRecord& record : format_records(file(), {w.n, w.k})) {
    int64_t size = 1;
    for (int64_t extent : record.shape) size *= extent;
    switch (record.part) {
      case FormatRecord::Part::kCodes:  // bytes and u16 in words
        codes = gpu.k.input("codes", DType::kU32, (size * size_of(record.dtype) + 3) / 4);
        break;
      case FormatRecord::Part::kInputScale: break;
      case FormatRecord::Part::kScales: scales = gpu.declare("scales", record.dtype, size, false); break;
      default: zeros = gpu.k.input("zeros", record.dtype, size);
    }
  }
}

// u32 word `word` of a row with codes along K. A word of ten codes is two u16 of the file, which lie in
// pairs.
ExprRef Records::word_of(const ExprRef& row, const ExprRef& word) const {
  KernelBuilder& k = gpu.k;
  auto at = [&](const ExprRef& i) { return file().transposed ? i * w.n + row : row * file().words(w.k) + i; };
  if (file().container == DType::kU32) return k.load(codes, at(word));
  if (size_of(file().container) == 1) return word_of_bytes(row, word);
  auto five = [&](const ExprRef& i) {
    ExprRef place = k.let("half", at(i)), shift = cast(place % 2, DType::kU32) * 16;
    return binary(BinaryOp::kAnd, binary(BinaryOp::kShr, k.load(codes, place / 2), shift), int_const(0x7FFF));
  };
  return binary(BinaryOp::kOr, five(word * 2), binary(BinaryOp::kShl, five(word * 2 + 1), int_const(15)));
}

// Four codes of a row that is bytes; 0 past its end.
ExprRef Records::word_of_bytes(const ExprRef& row, const ExprRef& word) const {
  KernelBuilder& k = gpu.k;
  ExprRef first = k.let("column", word * 4), out;
  for (int i = 0; i < 4; ++i) {
    ExprRef column = first + i;
    if (w.k % w.format.group) column = binary(BinaryOp::kMin, column, int_const(w.k - 1));
    ExprRef place = k.let("place", row * w.k + column), shift = cast(place % 4, DType::kU32) * 8;
    ExprRef code =
        binary(BinaryOp::kAnd, binary(BinaryOp::kShr, k.load(codes, place / 4), shift), int_const(0xFF));
    if (w.k % w.format.group) code = select(less(first + i, int_const(w.k)), code, int_const(0, code->type));
    out = k.let("packed",
                i ? binary(BinaryOp::kOr, out, binary(BinaryOp::kShl, code, int_const(8 * i))) : code);
  }
  return out;
}

// Word `word` of a row's group in the layout.
ExprRef Records::code_word(const ExprRef& row, const ExprRef& group, const ExprRef& word) const {
  KernelBuilder& k = gpu.k;
  if (!along_n()) return word_of(row, group * 4 + word);
  const int per_word = w.format.codes_per_word();
  ExprRef first = k.let("column", group * w.format.group + word * per_word),
          line = row / file().codes_per_word(), out;
  for (int i = 0; i < per_word; ++i) {
    ExprRef column = binary(BinaryOp::kMin, first + i, int_const(w.k - 1));
    ExprRef index = file().transposed ? column * words_of_n() + line : line * w.k + column;
    ExprRef code = code_of(k.load(codes, index), row);
    if (i) code = binary(BinaryOp::kOr, out, binary(BinaryOp::kShl, code, int_const(i * w.format.bits)));
    out = k.let("packed", code);
  }
  return out;
}

// Element `at` of the layout's scales as bits.
ExprRef Records::scale_bits(const ExprRef& at) const {
  KernelBuilder& k = gpu.k;
  const Type word{DType::kU32, 1};
  ExprRef in_block = at % kLaneRows, block = k.let("block", at / kLaneRows);
  ExprRef lane = in_block / 4 + in_block % 4 * 8;
  ExprRef row = k.let("row", block / w.scale_groups() * kLaneRows + lane);
  ExprRef group = k.let("g", block % w.scale_groups() * w.groups_per_scale());
  if (!scales.buffer)  // 1
    return k.let("scale", select(less(row, int_const(w.n)), int_const(std::bit_cast<int32_t>(1.0f), word),
                                 int_const(0, word)));
  ExprRef from = element(scale_line(row), file_group(group), scale_lines());
  ExprRef last = int_const(scale_lines() * file().groups(w.k) - 1);
  ExprRef at_most = k.let("from", binary(BinaryOp::kMin, from, last)), bits;
  if (scales.packed()) {
    ExprRef shift = cast(at_most % 2, DType::kU32) * 16;
    bits = binary(BinaryOp::kAnd, binary(BinaryOp::kShr, k.load(scales.buffer, at_most / 2), shift),
                  int_const(0xFFFF));
  } else {
    bits = k.load(scales.buffer, at_most);
    if (scales.stored != DType::kU32) bits = bitcast(bits, {DType::kU32, 1});
  }
  if (zeros) {
    ExprRef inside = binary(BinaryOp::kMin, row, int_const(w.n - 1));
    ExprRef word = k.load(zeros, element(inside / file().codes_per_word(), file_group(group), words_of_n()));
    ExprRef zero = cast(bitcast(code_of(word, inside), {DType::kI32, 1}), DType::kF32);
    ExprRef scale = extract(unpack_half(bits), 0);
    bits = pack_half(vector_of({scale, zero + static_cast<double>(file().zero_plus)}));
  }
  return k.let("scale", select(less(row, int_const(w.n)), bits, int_const(0)));
}

// Word i of the layout's scales: an element, or two halves.
ExprRef Records::scale_word(const ExprRef& i) const {
  if (w.scale_bytes() == 4) return scale_bits(i);
  ExprRef low = scale_bits(i * 2), high = scale_bits(i * 2 + 1);
  return binary(BinaryOp::kOr, low, binary(BinaryOp::kShl, high, int_const(16)));
}

}  // namespace

// One word of the layout a thread.
Function lower_gpu_repack(const graph::TensorType& parameter, const Target& target) {
  LaneWeight w = lane_weight(parameter);
  graph::Module module;
  graph::Node node;
  node.op = "repack";
  LowerOptions options{.target = &target};
  GpuLowering gpu(node, module, options);
  KernelBuilder& k = gpu.k;
  Records from{gpu, w};
  from.declare();
  BufferRef out = k.output("out", DType::kU32, w.words());
  gpu.for_row_units(1, w.words(), [&](ExprRef, ExprRef i) {
    auto copy_codes = [&] {
      ExprRef word = i % 4, place = k.let("place", i / 4);
      ExprRef block = k.let("block", place / kLaneRows);
      ExprRef row = k.let("row", block / w.groups() * kLaneRows + place % kLaneRows);
      ExprRef group = k.let("g", block % w.groups());
      if (w.padded_rows() == w.n) return k.store(out, i, from.code_word(row, group, word));
      ExprRef inside = k.let("inside", less(row, int_const(w.n)));
      k.branch(
          inside, [&] { k.store(out, i, from.code_word(row, group, word)); },
          [&] { k.store(out, i, int_const(0, {DType::kU32, 1})); });
    };
    k.branch(less(i, int_const(w.code_words())), copy_codes,
             [&] { k.store(out, i, from.scale_word(k.let("s", i - w.code_words()))); });
  });
  return k.finish();
}

namespace {

// A thread writes one group of one row.
Function take_quantized(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  LaneWeight w = lane_weight(gpu.type(0));
  BufferRef table = k.input("table", DType::kU32, w.words());
  TableIndex at(gpu);
  Operand out = gpu.result();
  int per_word = w.format.codes_per_word(), n = out.lanes();
  auto unpack = [&](const ExprRef& row, const ExprRef& group, const ExprRef& index) {
    ExprRef place = k.let("place", w.place(index, group));
    ExprRef words = k.let("words", w.codes(k, table, place));
    const GroupScale s = w.scales(k, table, w.scale_place(index, group, place))[0];
    std::vector<ExprRef> codes;  // by position, four words each
    for (int p = 0; p < per_word; ++p) {
      ExprRef exact = w.codes_at(k, words, p) * std::ldexp(1.0, -w.code_exponent(p));
      if (const int zero = w.format.zero_point()) exact = exact - zero;
      ExprRef value = exact * broadcast(s.scale, 4);
      codes.push_back(k.let("codes", s.offset ? value + broadcast(s.offset, 4) : value));
    }
    auto put = [&](int first) {
      std::vector<ExprRef> values;
      for (int i = first; i < first + n; ++i)
        values.push_back(extract(codes[static_cast<size_t>(i % per_word)], i / per_word));
      gpu.store(out, out.at(row, group * w.format.group + first), vector_of(values));
    };
    for (int first = 0; first < w.format.group; first += n) {
      int64_t whole = w.k / w.format.group, rest = w.k % w.format.group;  // the last group may be cut
      if (first < rest || rest == 0)
        put(first);
      else
        k.branch(less(group, int_const(whole)), [&] { put(first); });
    }
  };
  gpu.for_row_units(out.rows, w.groups(), [&](ExprRef row, ExprRef group) {
    at.enter(row);
    gpu.where(at.inside, [&] { unpack(row, group, at.index); });
  });
  return k.finish();
}

}  // namespace

Function lower_gpu_take(GpuLowering& gpu) {
  return gpu.type(0).kind == graph::TensorType::Kind::kGroup ? take_quantized(gpu) : take_plain(gpu);
}

}  // namespace mlc::kernel
