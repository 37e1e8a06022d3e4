// rms_norm and layer_norm over the last axis, or, where the weights are shorter than a row, over each part of
// it that is as long as they are (heads), or over each of the `groups` equal parts of it, whose weights are
// their own. With output = "q8g16", "q8g32", "q8g40" or "tiles" the f32 result becomes what quantize_q8 or
// to_tiles makes of it.
#include "graph/ops/norm.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

// What is normed together: a row, or a part of it as long as the weights, or one of the groups.
Dim part_of(const Node& node, const TensorType& x) {
  if (node.attributes.count("groups")) {
    const int64_t groups = int_attribute(node, "groups", 1, 1 << 20);
    if (columns(x) % groups != 0) refuse("divides ", columns(x), " columns into ", groups, " groups");
    return columns(x) / groups;
  }
  const Shape& weight = node.inputs[1]->type.shape;
  const bool parts = weight.size() == 1 && weight[0].is_const() && x.shape[1].is_const() &&
                     weight[0].constant() > 0 && x.shape[1].constant() % weight[0].constant() == 0;
  return parts ? weight[0] : x.shape[1];
}

std::vector<TensorType> infer(const Node& node, const Module&) {
  const TensorType& x = activation_operand(node, 0);
  const Dim part = part_of(node, x);
  const Dim weights = node.attributes.count("groups") ? x.shape[1] : part;
  for (size_t i = 1; i < node.inputs.size(); ++i) check_float_vector(node, i, weights);
  positive_attribute(node, "eps");
  if (node.region.accumulators() != 1) refuse("region of a norm has one accumulator");
  check_region(node.region, x.shape[0], columns(x));
  if (part != x.shape[1] && !node.region.empty()) refuse("region of heads that are normed by themselves");
  if (!node.attributes.count("output")) return {x};
  if (part != x.shape[1])
    refuse("heads that are normed by themselves give f32, not ", string_attribute(node, "output"));
  if (string_attribute(node, "output") == "tiles") return {TensorType::tiles(x.shape)};
  return {q8_attribute(node, x.shape)};
}

// (x - mean) * factor * weight + bias of n elements, whose weights begin at `first`; in: x, weight, bias.
std::vector<double> normalize_part(const float* row, int64_t n, int64_t first, const Node& node,
                                   const Inputs& in, bool centered) {
  const float* weight = in[1]->floats.data();
  const float* bias = in.size() > 2 ? in[2]->floats.data() : nullptr;
  double mean = 0, squares = 0;
  if (centered) {
    for (int64_t c = 0; c < n; ++c) mean += row[c];
    mean /= static_cast<double>(n);
  }
  for (int64_t c = 0; c < n; ++c) squares += (row[c] - mean) * (row[c] - mean);
  double factor = 1 / std::sqrt(squares / static_cast<double>(n) + node.get_double("eps"));
  std::vector<double> y(static_cast<size_t>(n));
  for (int64_t c = 0; c < n; ++c)
    y[c] = (row[c] - mean) * factor * weight[first + c] + (bias ? bias[first + c] : 0);
  return y;
}

// Every part of x, then the region.
HostTensor normalize(const Node& node, const Inputs& in, const Region& region, const Inputs& operands,
                     bool centered) {
  const HostTensor& x = *in[0];
  const int64_t groups = node.get_int_or("groups", 1), n = in[1]->shape[0] / groups;
  HostTensor out = make_floats(x.shape);
  for (int64_t r = 0; r < x.elements() / n; ++r) {
    std::vector<double> y = normalize_part(x.floats.data() + r * n, n, r % groups * n, node, in, centered);
    y = apply_region(region, operands, r, std::move(y));
    std::copy(y.begin(), y.end(), out.floats.begin() + r * n);
  }
  return out;
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& in, const Inputs& operands,
                                  InterpretContext&) {
  HostTensor out = normalize(node, in, node.region, operands, node.op == "layer_norm");
  return {store_as(node.outputs[0]->type, std::move(out))};
}

}  // namespace

bool is_norm(const Node& node) { return node.op == "rms_norm" || node.op == "layer_norm"; }

size_t first_norm_input(const Node& matmul) { return matmul.op == "expert_matmul" ? 3 : 2; }

void check_matmul_norm(const Node& matmul) {
  const size_t first = first_norm_input(matmul), count = matmul.inputs.size() - first;
  if (!matmul.attributes.count(kNormAttribute)) {
    if (count != 0) refuse(matmul.inputs.size(), " operands, expected ", first, " without a norm");
    return;
  }
  const std::string norm = string_attribute(matmul, kNormAttribute);
  if (norm != "rms_norm" && norm != "layer_norm")
    refuse("attribute 'norm' is '", norm, "', expected rms_norm or layer_norm");
  if (count < 1 || count > (norm == "layer_norm" ? 2u : 1u))
    refuse(count, " operands of ", norm, ", expected ", norm == "layer_norm" ? "1 or 2" : "1");
  const TensorType& x = activation_operand(matmul, 0);
  for (size_t i = first; i < matmul.inputs.size(); ++i) check_float_vector(matmul, i, x.shape[1]);
  positive_attribute(matmul, "eps");
}

HostTensor normed(const Node& matmul, const Inputs& in) {
  if (!matmul.attributes.count(kNormAttribute)) return *in[0];
  Inputs of_norm = {in[0]};
  of_norm.insert(of_norm.end(), in.begin() + static_cast<std::ptrdiff_t>(first_norm_input(matmul)), in.end());
  return normalize(matmul, of_norm, {}, {}, matmul.get_string(kNormAttribute) == "layer_norm");
}

std::vector<OpInfo> norm_ops() {
  return {{.name = "rms_norm",
           .min_inputs = 2,
           .max_inputs = 2,
           .region = RegionKind::kResults,
           .required_attributes = {"eps"},
           .infer = infer,
           .interpret = interpret},
          {.name = "layer_norm",
           .min_inputs = 2,
           .max_inputs = 3,
           .region = RegionKind::kResults,
           .required_attributes = {"eps"},
           .infer = infer,
           .interpret = interpret}};
}

}  // namespace mlc::graph
