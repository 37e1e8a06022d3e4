// matmul of int8 activations and 4-bit weights in a tile layout: the shared parts, and the body for one row, which
// streams the weights once.
#include "kernel/lower/matmul_q8.h"

#include <algorithm>
#include <tuple>

#include "kernel/lower/matmul.h"

namespace mlc::kernel {

std::pair<ExprRef, ExprRef> Q8Matmul::unpack_word(const ExprRef& row, const ExprRef& group, int j) {
  ExprRef word = k.let("word", weight.words(row, group, int_const(j), lanes));
  auto codes = [&](const ExprRef& nibbles) {
    ExprRef c = bitcast(binary(BinaryOp::kAnd, nibbles, int_const(0x0F0F0F0F)), bytes());
    if (schedule.inner == Inner::kDot4S8) c = c - double(weight.layout.format.zero_point());
    return k.let("codes", c);
  };
  ExprRef low = codes(word);
  return {low, codes(binary(BinaryOp::kShr, word, int_const(4)))};
}

std::vector<ExprRef> Q8Matmul::unpack(const ExprRef& row, const ExprRef& group) {
  std::vector<ExprRef> out(kSteps);
  for (int j = 0; j < kSteps / 2; ++j)
    std::tie(out[size_t(j)], out[size_t(j + kSteps / 2)]) = unpack_word(row, group, j);
  return out;
}

void Q8Matmul::prefetch(const ExprRef& row, const ExprRef& group) {
  constexpr double kAhead = 2048;
  for (int line = 0; line < lanes * 16; line += 64)
    k.prefetch(weight.buffer, weight.group_offset(row, group) + (kAhead + line), 3);
}

Q8Matmul::Group Q8Matmul::activation_group(const QuantizedRow& first, const ExprRef& group) {
  return {k.let("codes_at", first.codes(group)), k.let("scales_at", first.scale(group)),
          k.let("starts_at", first.start(group)), first.bytes()};
}

ExprRef Q8Matmul::activation(const Group& group, int m, int step) {
  ExprRef four = k.load_as({DType::kI32, 1}, x.buffer, group.codes + double(m * group.stride + 4 * step));
  return bitcast(broadcast(four, lanes), {DType::kI8, 4 * lanes});
}

ExprRef Q8Matmul::activation_scale(const Group& group, int m) {
  return broadcast(k.load_as({DType::kF32, 1}, x.buffer, group.scales + double(m * group.stride)), lanes);
}

ExprRef Q8Matmul::activation_start(const Group& group, int m) {
  return broadcast(k.load_as({DType::kI32, 1}, x.buffer, group.starts + double(m * group.stride)), lanes);
}

ExprRef Q8Matmul::begin(const ExprRef& start) {
  if (schedule.inner == Inner::kDot2) return nullptr;  // begins with the first product
  return starts_first() ? start : int_const(0, {DType::kI32, lanes});
}

ExprRef Q8Matmul::step(const ExprRef& accumulator, const ExprRef& weights, const ExprRef& activation) {
  if (schedule.inner != Inner::kDot2) return k.let("dot", dot4(weights, activation, accumulator));
  ExprRef product = dot2_u8s8(weights, activation);
  return k.let("pairs", accumulator ? accumulator + product : product);
}

ExprRef Q8Matmul::finish(const ExprRef& accumulator, const ExprRef& start) {
  ExprRef sum = accumulator;
  if (schedule.inner == Inner::kDot2) sum = dot2_i16(accumulator, int_const(1, {DType::kI16, 2 * lanes}));
  if (starts_last()) sum = sum + start;
  return k.let("total", cast(sum, DType::kF32));
}

namespace {

// The i32 sums of one group for the halves' vectors, which share the activation's broadcasts. Two chains each where a
// dot product adds: the latency of one chain is all there is to wait for.
std::vector<ExprRef> stream_group(Q8Matmul& mm, const Q8Matmul::Group& at, const ExprRef& column, const ExprRef& g,
                                  const ExprRef& start) {
  bool two = mm.schedule.inner != Inner::kDot2;
  auto halves = static_cast<size_t>(mm.halves());
  std::vector<ExprRef> sum(halves, mm.begin(start));
  std::vector<ExprRef> second(halves, two ? int_const(0, {DType::kI32, mm.lanes}) : nullptr);
  auto shared = [&](ExprRef x) { return halves > 1 ? mm.k.let("x", x) : x; };
  for (int j = 0; j < kSteps / 2; ++j) {
    ExprRef x_low = shared(mm.activation(at, 0, j)), x_high = shared(mm.activation(at, 0, j + kSteps / 2));
    for (size_t h = 0; h < halves; ++h) {
      auto [low, high] = mm.unpack_word(mm.weight_row(column, static_cast<int>(h)), g, j);
      sum[h] = mm.step(sum[h], low, x_low);
      ExprRef& other = two ? second[h] : sum[h];
      other = mm.step(other, high, x_high);
    }
  }
  for (size_t h = 0; two && h < halves; ++h) sum[h] = sum[h] + second[h];
  return sum;
}

// One vector of columns (of each half) against the only row.
void stream_vector(Q8Matmul& mm, const ExprRef& column) {
  KernelBuilder& k = mm.k;
  Type f32{DType::kF32, mm.lanes};
  QuantizedRow row(mm.x, int_const(0));
  BufferRef sums = k.registers("sum", f32, mm.halves());
  for (int h = 0; h < mm.halves(); ++h) k.store(sums, int_const(h), float_const(0, f32));
  k.loop("group", 0, mm.groups(), LoopKind::kSerial, [&](ExprRef g) {
    for (int h = 0; h < mm.halves(); ++h) mm.prefetch(mm.weight_row(column, h), g);
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
  mm.store(int_const(0), column, values);
}

}  // namespace

void matmul_one_row(Q8Matmul& mm) {
  // Vectors of one grid tile: some 8 KB of weights, so that claiming a tile is cheap, yet tiles for every thread.
  int64_t per_vector = mm.groups() * mm.lanes * 16 * mm.halves();
  int64_t step = std::clamp<int64_t>(8192 / per_vector, 1, std::max<int64_t>(1, mm.vectors / 16));
  mm.k.grid("tile", (mm.vectors + step - 1) / step, [&](ExprRef tile) {
    ExprRef first = mm.k.let("first", tile * double(step));
    ExprRef count = binary(BinaryOp::kMin, int_const(step), int_const(mm.vectors) - first);
    mm.k.loop("vector", int_const(0), count, LoopKind::kSerial,
              [&](ExprRef v) { stream_vector(mm, mm.k.let("column", (first + v) * double(mm.lanes))); });
  });
}

Function lower_matmul_q8(Lowering& low) {
  constexpr int kFew = 16;
  Q8Matmul mm(low);
  if (low.single_row()) matmul_one_row(mm);
  else if (low.options.max_rows && low.options.max_rows <= kFew) matmul_few_rows(mm);
  else matmul_many_rows(mm);
  return low.k.finish();
}

}  // namespace mlc::kernel
