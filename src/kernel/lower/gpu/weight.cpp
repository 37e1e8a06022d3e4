// Quantized weights on GPUs: addresses, codes, the repack kernel, and take.
#include "kernel/lower/gpu/weight.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/gpu/lowerings.h"
#include "kernel/lower/lowerings.h"
#include "kernel/lower/take.h"

namespace mlc::kernel {

LaneWeight lane_weight(const graph::TensorType& type) {
  internal_check(
      type.kind == graph::TensorType::Kind::kGroup && type.shape.size() == 2 && type.layout == kLaneLayout,
      str("no quantized matrix in the layout ", kLaneLayout, ": ", type.text()));
  return {type.format, type.shape[0].constant(), type.shape[1].constant()};
}

ExprRef LaneWeight::place(const ExprRef& row, const ExprRef& group) const {
  constexpr int64_t rows = kLaneRows;
  return (row / rows * groups() + group) * rows + row % kLaneRows;
}

ExprRef LaneWeight::codes(KernelBuilder& k, const BufferRef& buffer, const ExprRef& place) const {
  return k.load(buffer, place * 4, 4);
}

ExprRef LaneWeight::scale_place(const ExprRef& place) const {
  ExprRef lane = place % kLaneRows;
  return place - lane + (lane % 8 * 4 + lane / 8);
}

std::vector<ExprRef> LaneWeight::scales(KernelBuilder& k, const BufferRef& buffer, const ExprRef& at,
                                        int n) const {
  const int64_t base = code_words();
  std::vector<ExprRef> out;
  if (format.dtype == DType::kF32) {
    ExprRef all = k.let("scales", bitcast(k.load(buffer, at + base, n), {DType::kF32, n}));
    for (int i = 0; i < n; ++i) out.push_back(k.let("scale", extract(all, i)));
    return out;
  }
  ExprRef words = k.let("scales", k.load(buffer, at / 2 + base, std::max(1, n / 2)));
  for (int i = 0; i < n; i += 2) {
    ExprRef pair = k.let("pair", unpack_pair(format.dtype, extract(words, i / 2)));
    if (n == 1)
      return {k.let("scale",
                    select(binary(BinaryOp::kEq, at % 2, int_const(0)), extract(pair, 0), extract(pair, 1)))};
    for (int half = 0; half < 2; ++half) out.push_back(k.let("scale", extract(pair, half)));
  }
  return out;
}

int LaneWeight::code_exponent(int position) const {
  int shift = position * format.bits;
  return shift + format.bits > 31 ? 0 : shift;  // a mask there would make a negative number
}

ExprRef LaneWeight::codes_at(const ExprRef& words, int position) const {
  int shift = position * format.bits;
  ExprRef bits;
  if (code_exponent(position) == shift) {
    int64_t mask = ((int64_t{1} << format.bits) - 1) << shift;
    bits = binary(BinaryOp::kAnd, words, int_const(mask));
  } else {
    bits = binary(BinaryOp::kShr, words, int_const(shift));  // the highest code: nothing is left above it
  }
  return cast(bitcast(bits, words->type.with_dtype(DType::kI32)), DType::kF32);
}

namespace {

// The word of the file's scales that holds elements 2 i and 2 i + 1 of the layout, or element i of f32
// scales.
ExprRef repacked_scales(GpuLowering& gpu, const LaneWeight& w, const Operand& scales, const ExprRef& i) {
  KernelBuilder& k = gpu.k;
  auto element = [&](const ExprRef& at) {  // of the layout -> of the file
    ExprRef in_block = at % kLaneRows, block = k.let("block", at / kLaneRows);
    ExprRef lane = in_block / 4 + in_block % 4 * 8;
    ExprRef row = k.let("row", block / w.groups() * kLaneRows + lane);
    ExprRef group = k.let("g", block % w.groups());
    ExprRef from = w.format.transposed ? group * w.n + row : row * w.groups() + group;
    ExprRef last = int_const(w.n * w.groups() - 1);
    ExprRef at_most = k.let("from", binary(BinaryOp::kMin, from, last)), bits;
    if (scales.packed()) {
      ExprRef shift = cast(at_most % 2, DType::kU32) * 16;
      bits = binary(BinaryOp::kAnd, binary(BinaryOp::kShr, k.load(scales.buffer, at_most / 2), shift),
                    int_const(0xFFFF));
    } else {
      bits = bitcast(k.load(scales.buffer, at_most), {DType::kU32, 1});
    }
    return k.let("scale", select(less(row, int_const(w.n)), bits, int_const(0)));
  };
  if (!scales.packed()) return element(i);
  ExprRef low = element(i * 2), high = element(i * 2 + 1);
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
  BufferRef codes = k.input("codes", DType::kU32, w.n * w.groups() * 4);
  Operand scales = gpu.declare("scales", w.format.dtype, w.n * w.groups(), false);
  BufferRef out = k.output("out", DType::kU32, w.words());
  gpu.for_row_units(1, w.words(), [&](ExprRef, ExprRef i) {
    auto copy_codes = [&] {
      ExprRef word = i % 4, place = k.let("place", i / 4);
      ExprRef block = k.let("block", place / kLaneRows);
      ExprRef row = k.let("row", block / w.groups() * kLaneRows + place % kLaneRows);
      ExprRef group = k.let("g", block % w.groups());
      ExprRef from =
          w.format.transposed ? (group * 4 + word) * w.n + row : (row * w.groups() + group) * 4 + word;
      if (w.padded_rows() == w.n) return k.store(out, i, k.load(codes, from));
      ExprRef inside = k.let("inside", less(row, int_const(w.n)));
      k.branch(
          inside, [&] { k.store(out, i, k.load(codes, from)); },
          [&] { k.store(out, i, int_const(0, {DType::kU32, 1})); });
    };
    k.branch(less(i, int_const(w.code_words())), copy_codes,
             [&] { k.store(out, i, repacked_scales(gpu, w, scales, k.let("s", i - w.code_words()))); });
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
    ExprRef words = k.let("words", w.codes(k, table, place)),
            scale = w.scales(k, table, w.scale_place(place))[0];
    std::vector<ExprRef> codes;  // by position, four words each
    for (int p = 0; p < per_word; ++p) {
      ExprRef exact = w.codes_at(words, p) * std::ldexp(1.0, -w.code_exponent(p));
      codes.push_back(k.let("codes", (exact - w.format.zero_point()) * broadcast(scale, 4)));
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
