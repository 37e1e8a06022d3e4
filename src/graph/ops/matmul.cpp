// matmul: x [rows, K], or what its norm (norm.h) makes of x, times the transpose of weight [N, K], then its
// region, in f64, rounded once when stored. An x in tiles meets weights that are rounded as it is, to bf16.
//
// head_matmul(x [rows, H * D], weight [H, N, K]) -> f32[rows, H * (N + D - K)]: of each of H heads the first
// K of its D elements, times the transpose of its own plain matrix; the others follow as they are.
#include <algorithm>

#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/ops/norm.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

std::vector<TensorType> infer(const Node& node, const Module&) {
  const TensorType &x = node.inputs[0]->type, &w = node.inputs[1]->type;
  if (x.kind != TensorType::Kind::kQ8Activation && !x.is_tiled()) activation_operand(node, 0);
  if (x.shape.size() != 2 || !x.shape[1].is_const())
    refuse(describe(node, 0), " is no matrix with constant columns");
  bool floats =
      w.kind == TensorType::Kind::kGroup || (w.kind == TensorType::Kind::kPlain && is_float(w.dtype()));
  if (!floats || w.shape.size() != 2 || !w.shape[0].is_const())
    refuse(describe(node, 1), " is no weight matrix");
  if (x.kind == TensorType::Kind::kQ8Activation && w.kind == TensorType::Kind::kGroup &&
      x != TensorType::q8(x.shape, w.format))
    refuse(describe(node, 1), " meets ", x.element_text(), ", expected ",
           TensorType::q8(x.shape, w.format).element_text());
  if (w.shape[1] != x.shape[1])
    refuse(describe(node, 1), " has ", w.shape[1].text(), " columns, expected ", x.shape[1].text());
  check_matmul_norm(node);
  const int64_t n = check_region(node.region, x.shape[0], w.shape[0].constant());
  return {TensorType::plain(DType::kF32, {x.shape[0], n})};
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& in, const Inputs& operands,
                                  InterpretContext&) {
  const HostTensor x = normed(node, in);
  const HostTensor& w = *in[1];
  int64_t rows = x.shape[0], k = x.shape[1], n = w.shape[0];
  const TensorType& type = node.inputs[0]->type;
  bool q8 = type.kind == TensorType::Kind::kQ8Activation;
  std::vector<double> wide =
      q8 ? dequantize_q8(x, type.format.group) : std::vector<double>(x.floats.begin(), x.floats.end());
  std::vector<std::vector<double>> acc(static_cast<size_t>(rows),
                                       std::vector<double>(static_cast<size_t>(n)));
  std::vector<double> weight_rows(static_cast<size_t>(4 * k));
  for (int64_t j = 0; j < n; j += 4) {
    const int64_t found = std::min<int64_t>(4, n - j);
    std::copy_n(w.floats.data() + j * k, found * k, weight_rows.begin());
    if (type.is_tiled())
      for (double& v : weight_rows) v = round_to(DType::kBF16, static_cast<float>(v));
    double dots[4];
    for (int64_t r = 0; r < rows; ++r) {
      four_dots(wide.data() + r * k, weight_rows.data(), k, dots);
      std::copy_n(dots, found, acc[r].begin() + j);
    }
  }
  HostTensor out{DType::kF32, {rows, columns(node.outputs[0]->type)}, {}, {}};
  for (int64_t r = 0; r < rows; ++r)
    for (double v : apply_region(node.region, operands, r, std::move(acc[r])))
      out.floats.push_back(static_cast<float>(v));
  return {std::move(out)};
}

std::vector<TensorType> infer_heads(const Node& node, const Module&) {
  const TensorType &x = activation_operand(node, 0), &w = node.inputs[1]->type;
  const bool fits = w.kind == TensorType::Kind::kPlain && is_float(w.dtype()) && w.shape.size() == 3 &&
                    w.shape[0].is_const() && w.shape[1].is_const() && w.shape[2].is_const();
  if (!fits) refuse(describe(node, 1), " is no stack of plain matrices");
  const int64_t heads = w.shape[0].constant(), size = columns(x) / heads, k = w.shape[2].constant();
  if (columns(x) % heads != 0 || size < k)
    refuse(describe(node, 0), " does not have ", heads, " heads of ", k, " elements or more");
  return {TensorType::plain(DType::kF32, {x.shape[0], heads * (w.shape[1].constant() + size - k)})};
}

std::vector<HostTensor> interpret_heads(const Node& node, const Inputs& in, const Inputs&,
                                        InterpretContext&) {
  const HostTensor &x = *in[0], &w = *in[1];
  const int64_t heads = w.shape[0], n = w.shape[1], k = w.shape[2], size = x.shape[1] / heads;
  HostTensor out{DType::kF32, {x.shape[0], columns(node.outputs[0]->type)}, {}, {}};
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t h = 0; h < heads; ++h) {
      const float* head = x.floats.data() + r * x.shape[1] + h * size;
      for (int64_t j = 0; j < n; ++j) {
        const float* row = w.floats.data() + (h * n + j) * k;
        double sum = 0;
        for (int64_t i = 0; i < k; ++i) sum += double{head[i]} * row[i];
        out.floats.push_back(static_cast<float>(sum));
      }
      out.floats.insert(out.floats.end(), head + k, head + size);
    }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> matmul_ops() {
  return {{.name = "head_matmul",
           .min_inputs = 2,
           .max_inputs = 2,
           .infer = infer_heads,
           .interpret = interpret_heads},
          {.name = "matmul",
           .min_inputs = 2,
           .max_inputs = 4,
           .region = RegionKind::kResults,
           .infer = infer,
           .interpret = interpret}};
}

}  // namespace mlc::graph
