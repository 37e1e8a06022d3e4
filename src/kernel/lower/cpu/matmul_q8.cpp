// matmul of int8 activations and weights in a tile layout: the shared parts, and the body for one row, which
// streams the weights once.
#include "kernel/lower/cpu/matmul_q8.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/lower/cpu/matmul.h"

namespace mlc::kernel {

Q8Matmul::Q8Matmul(CpuLowering& l)
    : TiledMatmul(l),
      schedule(matmul_schedule(l.target)),
      inner(schedule.inner == Inner::kDot2 && weight.layout.format.bits == 8 ? Inner::kWide2
                                                                             : schedule.inner) {
  internal_check(low.type(0) == graph::TensorType::q8(low.type(0).shape, weight.layout.format),
                 "matmul: ", low.type(0).text(), " are no codes for ", low.type(1).text());
}

std::vector<ExprRef> Q8Matmul::part_words(const ExprRef& row, const ExprRef& group, int part) {
  std::vector<ExprRef> words;
  const int count = weight.layout.words_per_part();
  for (int w = 0; w < count; ++w)
    words.push_back(k.let("word", weight.words(row, group, int_const(part * count + w), lanes)));
  return words;
}

ExprRef Q8Matmul::unpack_step(const std::vector<ExprRef>& words, int t) {
  ExprRef codes = bitcast(weight.step(words, step_index(0, t)), bytes());
  if (inner == Inner::kDot4S8) codes = codes - weight.layout.format.zero_point();
  return k.let("codes", codes);
}

std::vector<ExprRef> Q8Matmul::unpack(const ExprRef& row, const ExprRef& group) {
  std::vector<ExprRef> out(static_cast<size_t>(steps()));
  for (int part = 0; part < weight.layout.parts(); ++part) {
    std::vector<ExprRef> words = part_words(row, group, part);
    for (int t = 0; t < steps_per_part(); ++t) out[size_t(step_index(part, t))] = unpack_step(words, t);
  }
  return out;
}

void Q8Matmul::prefetch(const ExprRef& row, const ExprRef& group, int part, int parts) {
  constexpr int kAhead = 2048, kLine = 64;
  const int lines = std::max(1, lanes * 16 / kLine);
  for (int line = part * lines / parts; line < (part + 1) * lines / parts; ++line)
    k.prefetch(weight.buffer, weight.group_offset(row, group) + (kAhead + line * kLine), 3);
}

Q8Matmul::Group Q8Matmul::activation_group(const QuantizedRow& first, const ExprRef& group) {
  return {k.let("codes_at", first.codes(group)), k.let("scales_at", first.scale(group)),
          k.let("starts_at", first.start(group)), first.bytes()};
}

ExprRef Q8Matmul::activation(const Group& group, int m, int step) {
  ExprRef four = k.load_as({DType::kI32, 1}, x.buffer, group.codes + (m * group.stride + 4 * step));
  return bitcast(broadcast(four, lanes), {DType::kI8, 4 * lanes});
}

ExprRef Q8Matmul::activation_scale(const Group& group, int m) {
  return broadcast(k.load_as({DType::kF32, 1}, x.buffer, group.scales + m * group.stride), lanes);
}

ExprRef Q8Matmul::activation_start(const Group& group, int m) {
  return broadcast(k.load_as({DType::kI32, 1}, x.buffer, group.starts + m * group.stride), lanes);
}

ExprRef Q8Matmul::begin(const ExprRef& start) {
  if (inner == Inner::kDot2) return nullptr;  // begins with the first product
  return starts_first() ? start : int_const(0, {DType::kI32, lanes});
}

ExprRef Q8Matmul::step(const ExprRef& accumulator, const ExprRef& weights, const ExprRef& activation) {
  if (inner == Inner::kWide2) {
    const Type pairs{DType::kI16, 2 * lanes};
    ExprRef w = k.let("w", bitcast(weights, pairs.with_dtype(DType::kU16)));
    ExprRef x = k.let("x", bitcast(activation, pairs)), eight = int_const(8);
    ExprRef even = dot2_i16(bitcast(binary(BinaryOp::kAnd, w, int_const(0xFF)), pairs),
                            binary(BinaryOp::kShr, binary(BinaryOp::kShl, x, eight), eight));
    ExprRef odd =
        dot2_i16(bitcast(binary(BinaryOp::kShr, w, eight), pairs), binary(BinaryOp::kShr, x, eight));
    return k.let("dot", accumulator + even + odd);
  }
  if (inner != Inner::kDot2) return k.let("dot", dot4(weights, activation, accumulator));
  ExprRef product = dot2_u8s8(weights, activation);
  return k.let("pairs", accumulator ? accumulator + product : product);
}

ExprRef Q8Matmul::finish(const ExprRef& accumulator, const ExprRef& start) {
  ExprRef sum = accumulator;
  if (inner == Inner::kDot2) sum = dot2_i16(accumulator, int_const(1, {DType::kI16, 2 * lanes}));
  if (starts_last()) sum = sum + start;
  return k.let("total", cast(sum, DType::kF32));
}

namespace {

// The i32 sums of one group for the halves' vectors, which share the activation's broadcasts. Two chains each
// where a dot product adds: the latency of one chain is all there is to wait for. Prefetches lie between the
// parts also because LLVM loads all of a group's words at once when it finds nothing between, and then
// spills.
std::vector<ExprRef> stream_group(Q8Matmul& mm, const Q8Matmul::Group& at, const ExprRef& column,
                                  const ExprRef& g, const ExprRef& start) {
  const bool two = mm.inner != Inner::kDot2;
  const auto halves = static_cast<size_t>(mm.halves());
  std::vector<ExprRef> sum(halves, mm.begin(start));
  std::vector<ExprRef> second(halves, two ? int_const(0, {DType::kI32, mm.lanes}) : nullptr);
  auto shared = [&](ExprRef x) { return halves > 1 ? mm.k.let("x", x) : x; };
  for (int part = 0; part < mm.weight.layout.parts(); ++part) {
    std::vector<std::vector<ExprRef>> words;
    for (int h = 0; h < mm.halves(); ++h) {
      mm.prefetch(mm.weight_row(column, h), g, part, mm.weight.layout.parts());
      words.push_back(mm.part_words(mm.weight_row(column, h), g, part));
    }
    for (int t = 0; t < mm.steps_per_part(); ++t) {
      ExprRef four = shared(mm.activation(at, 0, mm.step_index(part, t)));
      for (size_t h = 0; h < halves; ++h) {
        const bool odd = mm.steps_per_part() == 1 ? part % 2 : t % 2;
        ExprRef& chain = two && odd ? second[h] : sum[h];
        chain = mm.step(chain, mm.unpack_step(words[h], t), four);
      }
    }
  }
  for (size_t h = 0; two && h < halves; ++h) sum[h] = sum[h] + second[h];
  return sum;
}

// One vector of columns (of each half) against one row.
void stream_vector(Q8Matmul& mm, const ExprRef& column, const RowRun& run) {
  KernelBuilder& k = mm.k;
  Type f32{DType::kF32, mm.lanes};
  QuantizedRow row(mm.x, run.x_row);
  BufferRef sums = k.registers("sum", f32, mm.halves());
  for (int h = 0; h < mm.halves(); ++h) k.store(sums, int_const(h), float_const(0, f32));
  k.loop("group", 0, mm.groups(), LoopKind::kSerial, [&](ExprRef g) {
    Q8Matmul::Group at = mm.activation_group(row, g);
    ExprRef start = k.let("start", mm.activation_start(at, 0));
    std::vector<ExprRef> dots = stream_group(mm, at, column, g, start);
    ExprRef x_scale = k.let("x_scale", mm.activation_scale(at, 0));
    for (int h = 0; h < mm.halves(); ++h) {
      ExprRef total = mm.finish(dots[static_cast<size_t>(h)], start);
      ExprRef scale = mm.weight.scales(mm.weight_row(column, h), g, mm.lanes);
      k.store(sums, int_const(h), fma(total, scale * x_scale, k.load(sums, int_const(h))));
    }
  });
  std::vector<ExprRef> values;
  for (int h = 0; h < mm.halves(); ++h) values.push_back(k.let("y", k.load(sums, int_const(h))));
  mm.store(run.row, column, values);
}

}  // namespace

void matmul_one_row(Q8Matmul& mm) {
  // Vectors of one grid tile: some 8 KB of weights, so that claiming a tile is cheap, yet tiles for every
  // thread.
  int64_t per_vector = mm.groups() * mm.lanes * 16 * mm.halves();
  int64_t step = std::clamp<int64_t>(8192 / per_vector, 1, std::max<int64_t>(1, mm.vectors / 16));
  for_matrix_tiles(mm.low, mm.experts, (mm.vectors + step - 1) / step, [&](ExprRef tile, const RowRun& run) {
    mm.matrix_row = run.weight_row;
    ExprRef first = mm.k.let("first", tile * step);
    ExprRef count = binary(BinaryOp::kMin, int_const(step), int_const(mm.vectors) - first);
    mm.k.loop("vector", int_const(0), count, LoopKind::kSerial,
              [&](ExprRef v) { stream_vector(mm, mm.k.let("column", (first + v) * mm.lanes), run); });
  });
}

Function lower_matmul_q8(CpuLowering& low) {
  constexpr int kFew = 16;
  Q8Matmul mm(low);
  if (mm.experts.by_row())
    matmul_one_row(mm);
  else if (low.options.max_rows && low.options.max_rows <= kFew)
    matmul_few_rows(mm);
  else
    matmul_many_rows(mm);
  return low.k.finish();
}

}  // namespace mlc::kernel
