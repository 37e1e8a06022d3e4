// Quantized weights on GPUs: addresses, codes, the repack kernel, and take.
#include "kernel/lower/gpu/weight.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {

LaneWeight lane_weight(const graph::TensorType& type) {
  internal_check(
      type.kind == graph::TensorType::Kind::kGroup && type.shape.size() >= 2 && type.layout == kLaneLayout,
      str("no quantized matrix in the layout ", kLaneLayout, ": ", type.text()));
  return {type.format, rows_of(type).constant(), type.shape.back().constant()};
}

ExprRef LaneWeight::place(const ExprRef& row, const ExprRef& group) const {
  double rows = kLaneRows;
  return (row / rows * double(groups()) + group) * rows + row % kLaneRows;
}

ExprRef LaneWeight::codes(KernelBuilder& k, const BufferRef& buffer, const ExprRef& place) const {
  return k.load(buffer, place * 4.0, 4);
}

ExprRef LaneWeight::scale_place(const ExprRef& place) const {
  ExprRef lane = place % kLaneRows;
  return place - lane + (lane % 8 * 4.0 + lane / 8.0);
}

std::vector<ExprRef> LaneWeight::scales(KernelBuilder& k, const BufferRef& buffer, const ExprRef& at,
                                        int n) const {
  double base = static_cast<double>(code_words());
  std::vector<ExprRef> out;
  if (format.dtype == DType::kF32) {
    ExprRef all = k.let("scales", bitcast(k.load(buffer, at + base, n), {DType::kF32, n}));
    for (int i = 0; i < n; ++i) out.push_back(k.let("scale", extract(all, i)));
    return out;
  }
  ExprRef words = k.let("scales", k.load(buffer, at / 2.0 + base, std::max(1, n / 2)));
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
ExprRef repacked_scales(GpuLowering& gpu, const LaneWeight& w, const Words& scales, const ExprRef& i) {
  KernelBuilder& k = gpu.k;
  auto element = [&](const ExprRef& at) {  // of the layout -> of the file
    ExprRef in_block = at % kLaneRows, block = k.let("block", at / double(kLaneRows));
    ExprRef lane = in_block / 4.0 + in_block % 4 * 8.0;
    ExprRef row = k.let("row", block / double(w.groups()) * double(kLaneRows) + lane);
    ExprRef group = k.let("g", block % w.groups());
    ExprRef from = w.format.transposed ? group * double(w.n) + row : row * double(w.groups()) + group;
    ExprRef last = int_const(w.n * w.groups() - 1);
    ExprRef at_most = k.let("from", binary(BinaryOp::kMin, from, last)), bits;
    if (scales.packed()) {
      ExprRef shift = cast(at_most % 2, DType::kU32) * 16.0;
      bits = binary(BinaryOp::kAnd, binary(BinaryOp::kShr, k.load(scales.buffer, at_most / 2.0), shift),
                    int_const(0xFFFF));
    } else {
      bits = bitcast(k.load(scales.buffer, at_most), {DType::kU32, 1});
    }
    return k.let("scale", select(less(row, int_const(w.n)), bits, int_const(0)));
  };
  if (!scales.packed()) return element(i);
  ExprRef low = element(i * 2.0), high = element(i * 2.0 + 1.0);
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
  Lowering low(node, module, options);
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  BufferRef codes = k.input("codes", DType::kU32, w.n * w.groups() * 4);
  Words scales = gpu.words("scales", w.format.dtype, w.n * w.groups(), false);
  BufferRef out = k.output("out", DType::kU32, w.words());
  gpu.for_row_units(1, w.words(), [&](ExprRef, ExprRef i) {
    auto copy_codes = [&] {
      ExprRef word = i % 4, place = k.let("place", i / 4.0);
      ExprRef block = k.let("block", place / double(kLaneRows));
      ExprRef row = k.let("row", block / double(w.groups()) * double(kLaneRows) + place % kLaneRows);
      ExprRef group = k.let("g", block % w.groups());
      ExprRef from = w.format.transposed ? (group * 4.0 + word) * double(w.n) + row
                                         : (row * double(w.groups()) + group) * 4.0 + word;
      if (w.padded_rows() == w.n) return k.store(out, i, k.load(codes, from));
      ExprRef inside = k.let("inside", less(row, int_const(w.n)));
      k.branch(
          inside, [&] { k.store(out, i, k.load(codes, from)); },
          [&] { k.store(out, i, int_const(0, {DType::kU32, 1})); });
    };
    k.branch(less(i, int_const(w.code_words())), copy_codes, [&] {
      k.store(out, i, repacked_scales(gpu, w, scales, k.let("s", i - double(w.code_words()))));
    });
  });
  return k.finish();
}

namespace {

// body(row of the table) for result row `row`; of a piece of a table (lower.h), where the index lies in it.
void with_index(GpuLowering& gpu, const Words& indices, const ExprRef& row,
                const std::function<void(ExprRef)>& body) {
  KernelBuilder& k = gpu.k;
  const graph::Node& node = gpu.low.node;
  ExprRef index = k.let("index", gpu.load_index(indices, row));
  if (!node.attributes.count(kPieceAttribute)) return body(index);
  ExprRef local = k.let("local", index - double(node.get_int(kPieceAttribute)));
  ExprRef inside = binary(BinaryOp::kAnd, binary(BinaryOp::kGe, local, int_const(0)),
                          less(local, dim_expr(gpu.low.type(0).shape[0])));
  k.branch(inside, [&] { body(local); });
}

// A thread writes one group of one row.
Function take_quantized(Lowering& low) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  LaneWeight w = lane_weight(low.type(0));
  BufferRef table = k.input("table", DType::kU32, w.words());
  Words indices = gpu.vector(1, "indices");
  WordMatrix out = gpu.result();
  int per_word = w.format.codes_per_word(), n = out.lanes();
  auto unpack = [&](const ExprRef& row, const ExprRef& group, const ExprRef& index) {
    ExprRef place = k.let("place", w.place(index, group));
    ExprRef words = k.let("words", w.codes(k, table, place)),
            scale = w.scales(k, table, w.scale_place(place))[0];
    std::vector<ExprRef> codes;  // by position, four words each
    for (int p = 0; p < per_word; ++p) {
      ExprRef exact = w.codes_at(words, p) * std::ldexp(1.0, -w.code_exponent(p));
      codes.push_back(k.let("codes", (exact - double(w.format.zero_point())) * broadcast(scale, 4)));
    }
    auto put = [&](int first) {
      std::vector<ExprRef> values;
      for (int i = first; i < first + n; ++i)
        values.push_back(extract(codes[static_cast<size_t>(i % per_word)], i / per_word));
      gpu.store(out.words, out.at(row, group * double(w.format.group) + double(first)), vector_of(values));
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
    with_index(gpu, indices, row, [&](ExprRef index) { unpack(row, group, index); });
  });
  return k.finish();
}

}  // namespace

Function lower_gpu_take(Lowering& low) {
  if (low.type(0).kind == graph::TensorType::Kind::kGroup) return take_quantized(low);
  GpuLowering gpu(low);
  WordMatrix table = gpu.matrix(0, "table");
  Words indices = gpu.vector(1, "indices");
  WordMatrix out = gpu.result();
  int n = std::min(table.lanes(), out.lanes());
  gpu.for_row_units(out.rows, out.columns / n, [&](ExprRef row, ExprRef unit) {
    ExprRef at = low.k.let("at", unit * double(n));
    with_index(gpu, indices, row, [&](ExprRef index) {
      gpu.store(out.words, out.at(row, at), gpu.load(table.words, table.at(index, at), n));
    });
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
