// Regions and attention in f32: what a stream spends its time on beside products.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ops/math.h"
#include "weights/quantize/kernels.h"
#include "weights/quantize/matrix.h"
#include "weights/quantize/stream.h"

namespace mlc::weights {
namespace {

using graph::HostTensor;
using graph::Region;

// y = 1 / (1 + e^(-factor * x))
void sigmoid(const float* x, float factor, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = -factor * x[i];
  quantize_kernels().exponential(y, y, n);
  for (int64_t i = 0; i < n; ++i) y[i] = 1 / (1 + y[i]);
}

void apply_function(const std::string& name, const float* x, float* y, int64_t n) {
  if (name == "sigmoid") return sigmoid(x, 1, y, n);
  if (name == "silu" || name == "quick_gelu") {
    sigmoid(x, name == "silu" ? 1 : 1.702f, y, n);
    return quantize_kernels().combine('*', x, y, y, n);
  }
  if (name == "gelu_tanh") {  // (1 + tanh(t)) / 2 = 1 / (1 + e^(-2t)), t = sqrt(2 / pi) * (x + 0.044715 x^3)
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * (1 + 0.044715f * x[i] * x[i]);
    sigmoid(y, 1.5957691216f, y, n);
    return quantize_kernels().combine('*', x, y, y, n);
  }
  const graph::ScalarFunction f = graph::find_function(name);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(f(x[i]));
}

const float* operand_row(const HostTensor& x, int half, int64_t row, int64_t n, float* splat) {
  const int64_t begin = half == 1 ? n : 0;
  if (x.shape.size() != 2) return x.floats.data() + begin;
  if (x.shape[1] != 1) return x.floats.data() + row * x.shape[1] + begin;
  std::fill_n(splat, n, x.floats[static_cast<size_t>(row)]);
  return splat;
}

char sign_of(Region::Op op) {
  return op == Region::Op::kAdd ? '+' : op == Region::Op::kSub ? '-' : op == Region::Op::kMul ? '*' : '/';
}

// Products of queries and keys [0, n) to scores; distance: of the first key behind the row's own.
void finish_scores(const DenseAttention& shape, double slope, int64_t distance, float* row, int64_t n) {
  const auto scale = static_cast<float>(shape.scale);
  for (int64_t i = 0; i < n; ++i) row[i] *= scale;
  if (shape.scores->accumulators() == 1)
    return apply_region_fast(*shape.scores, {}, 0, {row, size_t(n)}, row);
  std::vector<float> computed(row, row + n);
  for (int64_t i = 0; i < n; ++i)
    computed.push_back(static_cast<float>(slope * static_cast<double>(distance + i)));
  apply_region_fast(*shape.scores, {}, 0, computed, row);
}

// Products of rows [begin, end) with keys [0, keys), to the softmax of their scores over what each row sees;
// the denominators.
void masked_softmax(const DenseAttention& shape, int64_t head, const int32_t* limits, int64_t begin,
                    int64_t end, int64_t keys, const float* sink, float* scores, float* totals) {
  const double slope = shape.alibi > 0 ? graph::alibi_slope(head, shape.heads, shape.alibi) : 0;
  for (int64_t r = begin; r < end; ++r) {
    float* row = scores + (r - begin) * keys;
    const int64_t last = limits[r], first = shape.window > 0 ? std::max<int64_t>(0, last - shape.window) : 0;
    finish_scores(shape, slope, first - (last - 1), row + first, last - first);
    const float most = *std::max_element(row + first, row + last),
                largest = sink ? std::max(*sink, most) : most;
    std::fill(row, row + first, 0.f), std::fill(row + last, row + keys, 0.f);
    for (int64_t t = first; t < last; ++t) row[t] -= largest;
    quantize_kernels().exponential(row + first, row + first, last - first);
    float total = sink ? std::exp(*sink - largest) : 0;
    for (int64_t t = first; t < last; ++t) total += row[t];
    totals[r - begin] = total;
  }
}

}  // namespace

void apply_region_fast(const Region& region, std::span<const HostTensor* const> operands, int64_t row,
                       std::span<const float> computed, float* out) {
  const auto n = static_cast<int64_t>(computed.size()) / region.accumulators();
  if (region.empty()) return static_cast<void>(std::copy_n(computed.data(), n, out));
  static thread_local std::vector<float> memory;
  static thread_local std::vector<const float*> terms;
  memory.resize(region.terms.size() * static_cast<size_t>(n));
  terms.clear();
  for (const Region::Term& t : region.terms) {
    float* own = memory.data() + terms.size() * static_cast<size_t>(n);
    const float* result = own;
    switch (t.op) {
      case Region::Op::kAccumulator: result = computed.data() + t.a * n; break;
      case Region::Op::kOperand: result = operand_row(*operands[size_t(t.a)], t.b, row, n, own); break;
      case Region::Op::kConstant: std::fill_n(own, n, static_cast<float>(t.value)); break;
      case Region::Op::kClamp:
        for (int64_t i = 0; i < n; ++i)
          own[i] = std::clamp(terms[size_t(t.a)][i], static_cast<float>(t.value), static_cast<float>(t.high));
        break;
      case Region::Op::kCall: apply_function(t.function, terms[size_t(t.a)], own, n); break;
      default: quantize_kernels().combine(sign_of(t.op), terms[size_t(t.a)], terms[size_t(t.b)], own, n);
    }
    terms.push_back(result);
  }
  std::copy_n(terms.back(), n, out);
}

void attend_head(const DenseAttention& shape, int64_t head, int64_t rows, const int32_t* limits,
                 const float* q, const float* keys, const float* values, float* out) {
  constexpr int64_t kStrip = 64;  // rows at once: keys after all of them are left out
  const int64_t kv_head = head / (shape.heads / shape.kv_heads);
  const int64_t q_row = shape.heads * shape.key_dim, k_row = shape.kv_heads * shape.key_dim,
                v_row = shape.kv_heads * shape.value_dim, out_row = shape.heads * shape.value_dim;
  std::vector<float> scores, totals(kStrip);
  for (int64_t begin = 0; begin < rows; begin += kStrip) {
    const int64_t end = std::min(rows, begin + kStrip);
    const int64_t seen = *std::max_element(limits + begin, limits + end);
    scores.resize(static_cast<size_t>((end - begin) * seen));
    mlc::weights::multiply(
        1, end - begin, seen, shape.key_dim, {q + begin * q_row + head * shape.key_dim, q_row},
        MatrixView{keys + kv_head * shape.key_dim, k_row}.transposed(), scores.data(), seen);
    masked_softmax(shape, head, limits, begin, end, seen, shape.sinks ? shape.sinks + head : nullptr,
                   scores.data(), totals.data());
    float* to = out + begin * out_row + head * shape.value_dim;
    mlc::weights::multiply(1, end - begin, shape.value_dim, seen, {scores.data(), seen},
                           {values + kv_head * shape.value_dim, v_row}, to, out_row);
    for (int64_t r = 0; r < end - begin; ++r)
      for (int64_t d = 0; d < shape.value_dim; ++d) to[r * out_row + d] /= totals[size_t(r)];
  }
}

}  // namespace mlc::weights
