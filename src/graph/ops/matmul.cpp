// matmul: x [rows, K] times the transpose of weight [N, K], then the epilogue, in f64, rounded once when
// stored. An x in tiles meets weights that are rounded as it is, to bf16.
#include <algorithm>

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;
using Kind = EpilogueStep::Kind;

void check_step(const EpilogueStep& step, size_t index, const Dim& rows, int64_t& n) {
  auto bad = [&](const char* expected) {
    refuse("epilogue step ", index, step.operand ? " (operand " + step.operand->type.text() + ")" : "", " ",
           expected);
  };
  bool takes_operand = step.kind == Kind::kBias || step.kind == Kind::kMul || step.kind == Kind::kAdd;
  if (takes_operand != (step.operand != nullptr)) bad(takes_operand ? "has no operand" : "takes no operand");
  if (step.kind == Kind::kActivation || step.kind == Kind::kGated) check_activation(step.function);
  if (step.kind == Kind::kGated) {
    if (n % 2 != 0) bad(str("gates an odd number of columns: ", n).c_str());
    n /= 2;
  }
  if (!step.operand) return;
  const TensorType& type = step.operand->type;
  if (step.kind == Kind::kBias) {
    if (type.kind != TensorType::Kind::kPlain || !is_float(type.dtype()) || type.shape != Shape{n})
      bad(str("is no float vector of ", n, " elements").c_str());
  } else if (type != TensorType::plain(DType::kF32, {rows, n})) {
    bad(str("is no f32[", rows.text(), ", ", n, "]").c_str());
  }
}

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
  int64_t n = w.shape[0].constant();
  for (size_t i = 0; i < node.epilogue.size(); ++i) check_step(node.epilogue[i], i, x.shape[0], n);
  return {TensorType::plain(DType::kF32, {x.shape[0], n})};
}

// One row of accumulators through the steps; `row` tells which row of the operands belongs to it.
void apply_epilogue(std::vector<double>& acc, const std::vector<EpilogueStep>& steps, const Inputs& operands,
                    int64_t row) {
  for (size_t s = 0; s < steps.size(); ++s) {
    const EpilogueStep& step = steps[s];
    size_t n = acc.size();
    const float* own = operands[s] ? operands[s]->floats.data() : nullptr;
    if (own && step.kind != Kind::kBias) own += static_cast<size_t>(row) * n;
    switch (step.kind) {
      case Kind::kBias:
      case Kind::kAdd:
        for (size_t i = 0; i < n; ++i) acc[i] += own[i];
        break;
      case Kind::kMul:
        for (size_t i = 0; i < n; ++i) acc[i] *= own[i];
        break;
      case Kind::kActivation: {
        ActivationFunction f = find_activation(step.function);
        std::transform(acc.begin(), acc.end(), acc.begin(), f);
        break;
      }
      case Kind::kGated: {
        ActivationFunction f = find_activation(step.function);
        for (size_t i = 0; i < n / 2; ++i) acc[i] = f(acc[i]) * acc[i + n / 2];
        acc.resize(n / 2);
        break;
      }
    }
  }
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& in, const Inputs& operands,
                                  InterpretContext&) {
  const HostTensor &x = *in[0], &w = *in[1];
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
  HostTensor out = make_floats({rows, node.outputs[0]->type.shape[1].constant()});
  for (int64_t r = 0; r < rows; ++r) {
    apply_epilogue(acc[r], node.epilogue, operands, r);
    for (size_t i = 0; i < acc[r].size(); ++i)
      out.floats[static_cast<size_t>(r) * acc[r].size() + i] = static_cast<float>(acc[r][i]);
  }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> matmul_ops() {
  return {{.name = "matmul", .min_inputs = 2, .max_inputs = 2, .infer = infer, .interpret = interpret}};
}

}  // namespace mlc::graph
