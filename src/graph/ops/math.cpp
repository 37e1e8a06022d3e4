// Scalar functions and dot products of the reference interpretation.
#include "graph/ops/math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"

namespace mlc::graph {
namespace {

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double relu(double x) { return x < 0 ? 0 : x; }
double relu2(double x) { return relu(x) * relu(x); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double quick_gelu(double x) { return x / (1 + std::exp(-1.702 * x)); }
double exponential(double x) { return std::exp(x); }
double tangent(double x) { return std::tanh(x); }

struct NamedFunction {
  const char* name;
  ScalarFunction function;
};
constexpr NamedFunction kFunctions[] = {
    // keep-sorted start
    {"exp", exponential},       {"gelu", gelu}, {"gelu_tanh", gelu_tanh},
    {"quick_gelu", quick_gelu}, {"relu", relu}, {"relu2", relu2},
    {"sigmoid", sigmoid},       {"silu", silu}, {"tanh", tangent},
    // keep-sorted end
};

}  // namespace

const std::vector<std::string>& function_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const NamedFunction& f : kFunctions) list.push_back(f.name);
    return list;
  }();
  return names;
}

ScalarFunction find_function(const std::string& name) {
  for (const NamedFunction& f : kFunctions)
    if (name == f.name) return f.function;
  internal_error(str("unknown function '", name, "'"));
}

#ifdef __x86_64__
[[gnu::target_clones("avx512f", "avx2", "default")]]  // the same sums in the same order in all
#endif
void four_dots(const double* a, const double* b, int64_t n, double* out) {
  constexpr int64_t kParts = 8;
  const double *b0 = b, *b1 = b + n, *b2 = b + 2 * n, *b3 = b + 3 * n;
  double s0[kParts] = {}, s1[kParts] = {}, s2[kParts] = {}, s3[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts)
    for (int64_t part = 0; part < kParts; ++part) {
      const double x = a[i + part];
      s0[part] += x * b0[i + part];
      s1[part] += x * b1[i + part];
      s2[part] += x * b2[i + part];
      s3[part] += x * b3[i + part];
    }
  for (int64_t j = 0; j < 4; ++j) out[j] = 0;
  for (int64_t part = 0; part < kParts; ++part)
    out[0] += s0[part], out[1] += s1[part], out[2] += s2[part], out[3] += s3[part];
  for (; i < n; ++i)
    for (int64_t j = 0; j < 4; ++j) out[j] += a[i] * b[j * n + i];
}

double alibi_slope(int64_t head, int64_t heads, double bias) {
  const auto n = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const double step = bias / static_cast<double>(n);
  if (head < n) return std::exp2(-step * static_cast<double>(head + 1));
  return std::exp2(-step / 2 * static_cast<double>(2 * (head - n) + 1));
}

float round_to(DType dtype, float value) {
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value));
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  internal_check(dtype == DType::kF32, "no rounding to ", short_name(dtype));
  return value;
}

HostTensor make_floats(std::vector<int64_t> shape) {
  HostTensor t{DType::kF32, std::move(shape), {}, {}};
  t.floats.resize(static_cast<size_t>(t.elements()));
  return t;
}

HostTensor take_rows(const HostTensor& x, const std::vector<int32_t>& rows) {
  HostTensor out{x.ints.empty() ? DType::kF32 : x.dtype, x.shape, {}, {}};
  out.shape[0] = static_cast<int64_t>(rows.size());
  auto copy = [&](const auto& from, auto& to) {  // codes, scales or values: so many a row
    const auto width = static_cast<int64_t>(from.size()) / std::max<int64_t>(1, x.shape[0]);
    for (int32_t r : rows) to.insert(to.end(), from.begin() + r * width, from.begin() + (r + 1) * width);
  };
  copy(x.floats, out.floats);
  copy(x.ints, out.ints);
  return out;
}

float quantize_group(const float* x, int64_t n, int32_t* codes) {
  std::fill(codes, codes + n, 0);
  float max_abs = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    max_abs = std::max(max_abs, std::fabs(x[i]));
  }
  float scale = max_abs / 127.0f;
  if (scale == 0) return 0;
  for (int64_t i = 0; i < n; ++i)
    codes[i] = static_cast<int32_t>(std::clamp(std::nearbyint(x[i] / scale), -127.0f, 127.0f));
  return scale;
}

HostTensor quantize_q8(const HostTensor& x, int64_t group) {
  int64_t rows = x.shape[0], k = x.shape[1], groups = (k + group - 1) / group;
  HostTensor out{DType::kI8, x.shape, {}, {}};
  out.ints.resize(static_cast<size_t>(rows * k));
  out.floats.resize(static_cast<size_t>(rows * groups));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = r * k + g * group, n = std::min(group, k - g * group);
      out.floats[static_cast<size_t>(r * groups + g)] = quantize_group(&x.floats[begin], n, &out.ints[begin]);
    }
  return out;
}

HostTensor store_as(const TensorType& type, HostTensor x) {
  if (type.kind == TensorType::Kind::kQ8Activation) return quantize_q8(x, type.format.group);
  if (type.dtype() != DType::kF32)
    for (float& v : x.floats) v = round_to(type.dtype(), v);
  return x;
}

std::vector<double> dequantize_q8(const HostTensor& x, int64_t group) {
  int64_t rows = x.shape[0], k = x.shape[1], groups = (k + group - 1) / group;
  std::vector<double> out(static_cast<size_t>(rows * k));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < k; ++c)
      out[r * k + c] = static_cast<double>(x.ints[r * k + c]) * x.floats[r * groups + c / group];
  return out;
}

}  // namespace mlc::graph
