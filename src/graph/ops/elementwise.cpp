// Ops that work on each element or column alone: map, slice, cast.
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

OpInfo map() {
  return {.name = "map",
          .min_inputs = 1,
          .max_inputs = 1,
          .region = RegionKind::kResults,
          .infer =
              [](const Node& node, const Module&) {
                TensorType type = activation_operand(node, 0);
                type.shape[1] = check_region(node.region, type.shape[0], columns(type));
                return std::vector{type};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs& operands, InterpretContext&) {
                const HostTensor& x = *in[0];
                HostTensor out{DType::kF32, {x.shape[0], columns(node.outputs[0]->type)}, {}, {}};
                for (int64_t r = 0; r < x.shape[0]; ++r) {
                  auto row = x.floats.begin() + r * x.shape[1];
                  for (double v : apply_region(node.region, operands, r, {row, row + x.shape[1]}))
                    out.floats.push_back(static_cast<float>(v));
                }
                return std::vector{std::move(out)};
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

std::vector<OpInfo> elementwise_ops() { return {map(), slice(), cast()}; }

}  // namespace mlc::graph
