// Ops that work on each element or column alone: add, mul, scale, bias, activation, gated, slice, cast.
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

std::vector<TensorType> infer_binary(const Node& node, const Module&) {
  const TensorType &a = activation_operand(node, 0), &b = activation_operand(node, 1);
  if (a != b) refuse(describe(node, 1), " is not like operand 0 (", a.text(), ")");
  return {a};
}

template <typename F>
HostTensor map_elements(const HostTensor& x, F f) {
  HostTensor out = make_floats(x.shape);
  for (size_t i = 0; i < out.floats.size(); ++i)
    out.floats[i] = static_cast<float>(f(i, double{x.floats[i]}));
  return out;
}

OpInfo add() {
  return {
      .name = "add",
      .min_inputs = 2,
      .max_inputs = 2,
      .infer = infer_binary,
      .interpret = [](const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
        return std::vector{map_elements(*in[0], [&](size_t i, double x) { return x + in[1]->floats[i]; })};
      }};
}

OpInfo mul() {
  return {
      .name = "mul",
      .min_inputs = 2,
      .max_inputs = 2,
      .infer = infer_binary,
      .interpret = [](const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
        return std::vector{map_elements(*in[0], [&](size_t i, double x) { return x * in[1]->floats[i]; })};
      }};
}

OpInfo scale() {
  return {.name = "scale",
          .min_inputs = 1,
          .max_inputs = 1,
          .required_attributes = {"factor"},
          .infer =
              [](const Node& node, const Module&) {
                positive_attribute(node, "factor");
                return std::vector{activation_operand(node, 0)};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
                const double factor = node.get_double("factor");
                return std::vector{map_elements(*in[0], [&](size_t, double x) { return x * factor; })};
              }};
}

OpInfo bias() {
  return {
      .name = "bias",
      .min_inputs = 2,
      .max_inputs = 2,
      .infer =
          [](const Node& node, const Module&) {
            const TensorType& x = activation_operand(node, 0);
            check_float_vector(node, 1, x.shape[1]);
            return std::vector{x};
          },
      .interpret =
          [](const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
            const std::vector<float>& b = in[1]->floats;
            return std::vector{map_elements(*in[0], [&](size_t i, double x) { return x + b[i % b.size()]; })};
          }};
}

OpInfo activation() {
  return {.name = "activation",
          .min_inputs = 1,
          .max_inputs = 1,
          .required_attributes = {"function"},
          .infer =
              [](const Node& node, const Module&) {
                check_activation(string_attribute(node, "function"));
                return std::vector{activation_operand(node, 0)};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
                ActivationFunction f = find_activation(node.get_string("function"));
                return std::vector{map_elements(*in[0], [&](size_t, double x) { return f(x); })};
              }};
}

HostTensor interpret_gated(const HostTensor& x, ActivationFunction f) {
  int64_t n = x.shape[1] / 2;
  HostTensor out = make_floats({x.shape[0], n});
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t c = 0; c < n; ++c) {
      const float* row = &x.floats[r * 2 * n];
      out.floats[r * n + c] = static_cast<float>(f(row[c]) * row[c + n]);
    }
  return out;
}

OpInfo gated() {
  return {.name = "gated",
          .min_inputs = 1,
          .max_inputs = 1,
          .required_attributes = {"function"},
          .infer =
              [](const Node& node, const Module&) {
                check_activation(string_attribute(node, "function"));
                TensorType type = activation_operand(node, 0);
                if (columns(type) % 2 != 0) refuse(describe(node, 0), " has an odd number of columns");
                type.shape[1] = columns(type) / 2;
                return std::vector{type};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
                return std::vector{interpret_gated(*in[0], find_activation(node.get_string("function")))};
              }};
}

HostTensor interpret_slice(const HostTensor& x, int64_t begin, int64_t end) {
  HostTensor out = make_floats({x.shape[0], end - begin});
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t c = begin; c < end; ++c)
      out.floats[r * (end - begin) + c - begin] = x.floats[r * x.shape[1] + c];
  return out;
}

OpInfo slice() {
  return {.name = "slice",
          .min_inputs = 1,
          .max_inputs = 1,
          .required_attributes = {"begin", "end"},
          .infer =
              [](const Node& node, const Module&) {
                TensorType type = activation_operand(node, 0);
                int64_t begin = int_attribute(node, "begin", 0, columns(type));
                type.shape[1] = int_attribute(node, "end", begin + 1, columns(type)) - begin;
                return std::vector{type};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
                return std::vector{interpret_slice(*in[0], node.get_int("begin"), node.get_int("end"))};
              }};
}

DType cast_dtype(const Node& node) {
  std::string name = string_attribute(node, "dtype");
  auto dtype = parse_dtype(name);
  if (!dtype || (*dtype != DType::kF32 && *dtype != DType::kF16 && *dtype != DType::kBF16))
    refuse("attribute 'dtype' is '", name, "', expected f32, f16 or bf16");
  return *dtype;
}

OpInfo cast() {
  return {.name = "cast",
          .min_inputs = 1,
          .max_inputs = 1,
          .required_attributes = {"dtype"},
          .infer =
              [](const Node& node, const Module&) {
                const TensorType& x = node.inputs[0]->type;
                if (x.kind != TensorType::Kind::kPlain || !is_float(x.dtype()))
                  refuse(describe(node, 0), " is no float tensor");
                return std::vector{TensorType::plain(cast_dtype(node), x.shape)};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
                HostTensor out = *in[0];
                out.dtype = cast_dtype(node);
                for (float& x : out.floats) x = round_to(out.dtype, x);
                return std::vector{out};
              }};
}

}  // namespace

std::vector<OpInfo> elementwise_ops() {
  return {add(), mul(), scale(), bias(), activation(), gated(), slice(), cast()};
}

}  // namespace mlc::graph
