// rope: rotary position embedding of heads, with factors that the caller made from positions. Of each head
// rotary_dim elements from `begin` on (0 where it is not stated) are rotated.
#include "graph/ops/rope.h"

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {

void rotate_heads(float* x, const float* factors, int64_t heads, int64_t head_dim, int64_t rotary_dim,
                  bool interleaved, int64_t begin) {
  int64_t half = rotary_dim / 2;
  x += begin;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t d = 0; d < half; ++d) {
      float& a = x[h * head_dim + (interleaved ? 2 * d : d)];
      float& b = x[h * head_dim + (interleaved ? 2 * d + 1 : d + half)];
      double cosine = factors[d], sine = factors[half + d], real = a, imaginary = b;
      a = static_cast<float>(real * cosine - imaginary * sine);
      b = static_cast<float>(imaginary * cosine + real * sine);
    }
}

void check_rotation(const Node& node, size_t factors, const Dim& rows) {
  int64_t head_dim = int_attribute(node, "head_dim", 1, 1 << 20);
  int64_t rotary_dim = int_attribute(node, "rotary_dim", 2, head_dim);
  if (rotary_dim % 2 != 0) refuse("attribute 'rotary_dim' is odd: ", rotary_dim);
  if (node.attributes.count("begin") && int_attribute(node, "begin", 0, head_dim - rotary_dim) % 2 != 0)
    refuse("attribute 'begin' is odd: ", node.get_int("begin"));
  bool_attribute_or(node, "interleaved", false);
  if (columns(activation_operand(node, factors)) != rotary_dim)
    refuse(describe(node, factors), " does not have ", rotary_dim, " columns");
  check_equal_rows(node, factors, rows);
}

namespace {

using Inputs = std::vector<const HostTensor*>;

std::vector<TensorType> infer(const Node& node, const Module&) {
  const TensorType& x = activation_operand(node, 0);
  check_rotation(node, 1, x.shape[0]);
  if (columns(x) % node.get_int("head_dim") != 0)
    refuse(describe(node, 0), " is no whole number of heads of ", node.get_int("head_dim"));
  return {x};
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
  HostTensor out = *in[0];
  int64_t n = out.shape[1], head_dim = node.get_int("head_dim"), rotary_dim = node.get_int("rotary_dim");
  for (int64_t r = 0; r < out.shape[0]; ++r)
    rotate_heads(out.floats.data() + r * n, in[1]->floats.data() + r * rotary_dim, n / head_dim, head_dim,
                 rotary_dim, node.get_bool_or("interleaved", false), node.get_int_or("begin", 0));
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> rope_ops() {
  return {{.name = "rope",
           .min_inputs = 2,
           .max_inputs = 2,
           .required_attributes = {"head_dim", "rotary_dim"},
           .infer = infer,
           .interpret = interpret}};
}

}  // namespace mlc::graph
