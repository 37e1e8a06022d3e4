// lora_shrink, lora_expand: low-rank adapters (LoRA, arXiv:2106.09685), an adapter of its own for each row.
//
// lora_shrink(x [rows, K], A [adapters, K, P * R], adapter i32[rows]) -> f32[rows, P * R]: x times the matrix
//   of the row's adapter; -1: the row has none, zeros.
// lora_expand(t [rows, P * R], B [adapters, R, N], adapter i32[rows]) {parts = "576,192,192"} -> f32[rows,
// N]:
//   the N columns are P parts of these widths (without the attribute one part); a column of part p is the dot
//   product of elements [p * R, (p + 1) * R) of the row's t and the column of its adapter's matrix; -1:
//   zeros.
// A and B are plain f32 parameters that no weights folder has (graph/ir.h, kLoraA); sums are f64.
#include "graph/ops/lora.h"

#include <charconv>

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

// Operand 1 as a stack of matrices [adapters, rows, columns].
const TensorType& stack_operand(const Node& node) {
  const TensorType& t = node.inputs[1]->type;
  const bool constant =
      t.shape.size() == 3 && t.shape[0].is_const() && t.shape[1].is_const() && t.shape[2].is_const();
  if (t.kind != TensorType::Kind::kPlain || t.dtype() != DType::kF32 || !constant)
    refuse(describe(node, 1), " is no f32 stack of matrices");
  return t;
}

void check_adapters(const Node& node, const Dim& rows) {
  if (index_operand(node, 2) != rows)
    refuse(describe(node, 2), " is not one adapter for each of ", rows.text(), " rows");
}

std::vector<TensorType> infer_shrink(const Node& node, const Module&) {
  const TensorType &x = activation_operand(node, 0), &a = stack_operand(node);
  if (a.shape[1] != x.shape[1])
    refuse(describe(node, 1), " has matrices of ", a.shape[1].text(), " rows, expected ", x.shape[1].text());
  check_adapters(node, x.shape[0]);
  return {TensorType::plain(DType::kF32, {x.shape[0], a.shape[2]})};
}

std::vector<TensorType> infer_expand(const Node& node, const Module&) {
  const TensorType &t = activation_operand(node, 0), &b = stack_operand(node);
  const std::vector<int64_t> parts = lora_parts(node);
  int64_t total = 0;
  for (int64_t n : parts) total += n;
  if (total != b.shape[2].constant())
    refuse("attribute 'parts' has ", total, " columns in all, expected ", b.shape[2].text());
  if (static_cast<int64_t>(parts.size()) * b.shape[1].constant() != columns(t))
    refuse(describe(node, 0), " has not ", b.shape[1].text(), " columns for each of ", parts.size(),
           " parts");
  check_adapters(node, t.shape[0]);
  return {TensorType::plain(DType::kF32, {t.shape[0], b.shape[2]})};
}

// The first element of the adapter's matrix, or nullptr where the row has no adapter.
const float* matrix_of(const HostTensor& stack, int32_t adapter) {
  if (adapter < -1 || adapter >= stack.shape[0])
    refuse("adapter ", adapter, " of a stack of ", stack.shape[0]);
  return adapter < 0 ? nullptr : stack.floats.data() + adapter * stack.shape[1] * stack.shape[2];
}

std::vector<HostTensor> interpret_shrink(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  const HostTensor &x = *in[0], &a = *in[1];
  const int64_t k = a.shape[1], n = a.shape[2];
  HostTensor out{DType::kF32, {x.shape[0], n}, {}, {}};
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    const float* matrix = matrix_of(a, in[2]->ints[static_cast<size_t>(r)]);
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t i = 0; matrix && i < k; ++i)
        sum += double{x.floats[static_cast<size_t>(r * k + i)]} * matrix[i * n + j];
      out.floats.push_back(static_cast<float>(sum));
    }
  }
  return {std::move(out)};
}

std::vector<HostTensor> interpret_expand(const Node& node, const Inputs& in, const Inputs&,
                                         InterpretContext&) {
  const HostTensor &t = *in[0], &b = *in[1];
  const int64_t rank = b.shape[1], n = b.shape[2], width = t.shape[1];
  const std::vector<int64_t> parts = lora_parts(node);
  HostTensor out{DType::kF32, {t.shape[0], n}, {}, {}};
  for (int64_t r = 0; r < t.shape[0]; ++r) {
    const float* matrix = matrix_of(b, in[2]->ints[static_cast<size_t>(r)]);
    int64_t column = 0;
    for (size_t p = 0; p < parts.size(); ++p)
      for (int64_t end = column + parts[p]; column < end; ++column) {
        const float* of_part = t.floats.data() + r * width + static_cast<int64_t>(p) * rank;
        double sum = 0;
        for (int64_t j = 0; matrix && j < rank; ++j) sum += double{of_part[j]} * matrix[j * n + column];
        out.floats.push_back(static_cast<float>(sum));
      }
  }
  return {std::move(out)};
}

}  // namespace

std::vector<int64_t> lora_parts(const Node& node) {
  const TensorType& b = node.inputs[1]->type;
  if (!node.attributes.count(kLoraParts)) return {b.shape[2].constant()};
  std::vector<int64_t> parts;
  for (const std::string& part : split(string_attribute(node, kLoraParts), ',')) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), n);
    if (error != std::errc() || end != part.data() + part.size() || n < 1)
      refuse("attribute 'parts' has '", part, "', expected widths such as \"576,192,192\"");
    parts.push_back(n);
  }
  return parts;
}

std::vector<OpInfo> lora_ops() {
  return {{.name = "lora_expand",
           .min_inputs = 3,
           .max_inputs = 3,
           .infer = infer_expand,
           .interpret = interpret_expand},
          {.name = "lora_shrink",
           .min_inputs = 3,
           .max_inputs = 3,
           .infer = infer_shrink,
           .interpret = interpret_shrink}};
}

}  // namespace mlc::graph
