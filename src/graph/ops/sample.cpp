// softmax and sample: logits [rows, V] to one index a row, each row by its own settings (base/draw.h).
#include <algorithm>

#include "base/draw.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

const TensorType& check_settings(const Node& node) {
  const TensorType& x = activation_operand(node, 0);
  if (columns(activation_operand(node, 1)) != kDrawSettings)
    refuse(describe(node, 1), " does not have ", kDrawSettings, " columns");
  check_equal_rows(node, 1, x.shape[0]);
  return x;
}

DrawSettings settings_of(const HostTensor& settings, int64_t row) {
  const float* s = settings.floats.data() + row * kDrawSettings;
  return {s[0], s[1], s[2]};
}

std::vector<HostTensor> interpret_softmax(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  HostTensor out = *in[0];
  auto n = static_cast<size_t>(out.shape[1]);
  for (int64_t r = 0; r < out.shape[0]; ++r)
    softmax(std::span(out.floats).subspan(static_cast<size_t>(r) * n, n),
            settings_of(*in[1], r).inverse_temperature);
  return {std::move(out)};
}

std::vector<HostTensor> interpret_sample(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  auto n = static_cast<size_t>(in[0]->shape[1]);
  HostTensor out{DType::kI32, {in[0]->shape[0], 1}, {}, {}};
  for (int64_t r = 0; r < in[0]->shape[0]; ++r) {
    const DrawSettings s = settings_of(*in[1], r);
    out.ints.push_back(
        draw(std::span(in[0]->floats).subspan(static_cast<size_t>(r) * n, n), s.top_p, s.uniform));
  }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> sample_ops() {
  return {{.name = "softmax",
           .min_inputs = 2,
           .max_inputs = 2,
           .infer = [](const Node& node, const Module&) { return std::vector{check_settings(node)}; },
           .interpret = interpret_softmax},
          {.name = "sample",
           .min_inputs = 2,
           .max_inputs = 2,
           .infer =
               [](const Node& node, const Module&) {
                 return std::vector{TensorType::plain(DType::kI32, {check_settings(node).shape[0], 1})};
               },
           .interpret = interpret_sample}};
}

}  // namespace mlc::graph
