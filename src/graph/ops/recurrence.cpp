// Recurrences over the rows of each sequence, whose state lies in a slot of it: token_shift, wkv4, wkv5; and
// copy_slots.
//
// row_indptr i32[batch + 1]: the rows of sequence s are row_indptr[s] .. row_indptr[s + 1], one after the
// other; slot_ids i32[batch]: its slots. Each reads its `part` of the slot of its layer, which stands for the
// rows before these, and leaves there what stands for these too. A slot of zeros stands for none.
#include <algorithm>
#include <cmath>

#include "graph/ops/cache.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

// Checks the operands that say where sequences lie, which come last, and the size of the part.
void check_sequences(const Node& node, const Module& module, const Dim& rows, int64_t elements) {
  const SlotState& slots = slots_operand(node, module);
  const std::string part = string_attribute(node, "part");
  auto named =
      std::find_if(slots.parts.begin(), slots.parts.end(), [&](const SlotPart& p) { return p.name == part; });
  if (named == slots.parts.end()) refuse("$", slots.name, " has no part '", part, "'");
  if (named->elements != elements)
    refuse("part '", part, "' of $", slots.name, " has ", named->elements, " elements, expected ", elements);
  const size_t first = node.inputs.size() - 2;
  if (index_operand(node, first) != index_operand(node, first + 1) + Dim(1))
    refuse(describe(node, first), " is not one more than the sequences of operand ", first + 1);
  check_equal_rows(node, 0, rows);
}

// A float parameter of this shape.
void check_weights(const Node& node, size_t i, const Shape& shape) {
  const TensorType& type = node.inputs[i]->type;
  if (type.kind != TensorType::Kind::kPlain || !is_float(type.dtype()) || type.shape != shape)
    refuse(describe(node, i), " is no float tensor of ", TensorType::plain(DType::kF32, shape).text());
}

// The node's part of a slot of its layer.
float* slot_part(const Node& node, HostState& state, int64_t slot) {
  if (slot < 0 || slot >= state.pages) refuse("slot ", slot, " of ", state.pages);
  const int64_t at = (node.get_int("layer") * state.pages + slot) * state.slots.slot_elements();
  return state.values.data() + at + *state.slots.offset(node.get_string("part"));
}

// Calls step(row, part of the slot) for the rows of each sequence, in order.
template <typename Step>
void for_each_row(const Node& node, const Inputs& in, InterpretContext& context, const Step& step) {
  HostState& state = context.states.at(node.state);
  const std::vector<int32_t>&row_indptr = in[in.size() - 2]->ints, &slots = in.back()->ints;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (row_indptr[s] < 0 || row_indptr[s] > row_indptr[s + 1] || row_indptr[s + 1] > in[0]->shape[0])
      refuse("rows ", row_indptr[s], " to ", row_indptr[s + 1], " of ", in[0]->shape[0]);
    for (int64_t r = row_indptr[s]; r < row_indptr[s + 1]; ++r) step(r, slot_part(node, state, slots[s]));
  }
}

// The row before each row of x in its sequence.
OpInfo token_shift() {
  return {.name = "token_shift",
          .min_inputs = 3,
          .max_inputs = 3,
          .has_state = true,
          .writes_state = true,
          .required_attributes = {"layer", "part"},
          .infer =
              [](const Node& node, const Module& module) {
                const TensorType& x = activation_operand(node, 0);
                check_sequences(node, module, x.shape[0], columns(x));
                return std::vector{x};
              },
          .interpret =
              [](const Node& node, const Inputs& in, const Inputs&, InterpretContext& context) {
                const int64_t n = in[0]->shape[1];
                HostTensor out = make_floats(in[0]->shape);
                for_each_row(node, in, context, [&](int64_t r, float* last) {
                  std::copy_n(last, n, out.floats.data() + r * n);
                  std::copy_n(in[0]->floats.data() + r * n, n, last);
                });
                return std::vector{std::move(out)};
              }};
}

// Columns by themselves: of the keys and values of a sequence, with w = -exp(decay) and u = bonus,
//   out_t = (sum of e^((t - 1 - i) w + k_i) v_i over i < t, and e^(u + k_t) v_t) / (the same without v).
// The part [3][columns] holds the sums a and b over the tokens so far as a * e^m and b * e^m, and m, the
// greatest exponent met: b is at least 1 after any token, so that b = 0 is the empty text.
struct Average {
  double a, b, m;
  explicit Average(const float* part, int64_t n)
      : a(part[0]), b(part[n]), m(part[n] == 0 ? -INFINITY : part[2 * n]) {}
  // With one token more, at an exponent; this one's have fallen by `decay`.
  void add(double exponent, double value, double decay) {
    const double top = std::max(m + decay, exponent);
    const double kept = std::isinf(m) ? 0 : std::exp(m + decay - top), added = std::exp(exponent - top);
    a = kept * a + added * value, b = kept * b + added, m = top;
  }
};

void average_column(float* part, int64_t n, double k, double v, double w, double u, float* out) {
  Average now(part, n), kept = now;
  now.add(k + u, v, 0);
  kept.add(k, v, w);
  *out = static_cast<float>(now.a / now.b);
  part[0] = static_cast<float>(kept.a), part[n] = static_cast<float>(kept.b);
  part[2 * n] = static_cast<float>(kept.m);
}

std::vector<TensorType> infer_wkv4(const Node& node, const Module& module) {
  const TensorType& k = activation_operand(node, 0);
  if (activation_operand(node, 1) != k) refuse(describe(node, 1), " is not as the keys");
  for (size_t i : {2, 3}) check_weights(node, i, {k.shape[1]});
  check_sequences(node, module, k.shape[0], 3 * columns(k));
  return {k};
}

std::vector<HostTensor> interpret_wkv4(const Node& node, const Inputs& in, const Inputs&,
                                       InterpretContext& context) {
  const int64_t n = in[0]->shape[1];
  HostTensor out = make_floats(in[0]->shape);
  for_each_row(node, in, context, [&](int64_t r, float* part) {
    for (int64_t c = 0; c < n; ++c)
      average_column(part + c, n, in[0]->floats[r * n + c], in[1]->floats[r * n + c],
                     -std::exp(double{in[2]->floats[c]}), in[3]->floats[c], &out.floats[r * n + c]);
  });
  return {std::move(out)};
}

OpInfo wkv4() {
  return {.name = "wkv4",
          .min_inputs = 6,
          .max_inputs = 6,
          .has_state = true,
          .writes_state = true,
          .required_attributes = {"layer", "part"},
          .infer = infer_wkv4,
          .interpret = interpret_wkv4};
}

// Heads by themselves, their size n and number those of decay w and bonus u [heads, n]: with the state S of a
// head [n][n], out = r (S + diag(u) k^T v), then S = diag(w) S + k^T v. The part is [heads][n][n].
std::vector<TensorType> infer_wkv5(const Node& node, const Module& module) {
  const TensorType& r = activation_operand(node, 0);
  for (size_t i : {1, 2})
    if (activation_operand(node, i) != r) refuse(describe(node, i), " is not as operand 0");
  const Shape& heads = node.inputs[3]->type.shape;
  if (heads.size() != 2 || !heads[0].is_const() || !heads[1].is_const() ||
      heads[0].constant() * heads[1].constant() != columns(r))
    refuse(describe(node, 3), " does not divide ", columns(r), " columns into heads");
  for (size_t i : {3, 4}) check_weights(node, i, heads);
  check_sequences(node, module, r.shape[0], columns(r) * heads[1].constant());
  return {r};
}

std::vector<HostTensor> interpret_wkv5(const Node& node, const Inputs& in, const Inputs&,
                                       InterpretContext& context) {
  const int64_t columns = in[0]->shape[1], n = in[3]->shape[1];
  const float *w = in[3]->floats.data(), *u = in[4]->floats.data();
  HostTensor out = make_floats(in[0]->shape);
  for_each_row(node, in, context, [&](int64_t row, float* part) {
    const float *r = in[0]->floats.data() + row * columns, *k = in[1]->floats.data() + row * columns,
                *v = in[2]->floats.data() + row * columns;
    for (int64_t j = 0; j < columns; ++j) {  // a column of a head's values
      const int64_t head = j / n * n;
      double sum = 0;
      for (int64_t i = head; i < head + n; ++i) {
        float& s = part[i * n + j - head];
        const double kv = double{k[i]} * v[j];
        sum += r[i] * (u[i] * kv + s);
        s = static_cast<float>(w[i] * double{s} + kv);
      }
      out.floats[row * columns + j] = static_cast<float>(sum);
    }
  });
  return {std::move(out)};
}

OpInfo wkv5() {
  return {.name = "wkv5",
          .min_inputs = 7,
          .max_inputs = 7,
          .has_state = true,
          .writes_state = true,
          .required_attributes = {"layer", "part"},
          .infer = infer_wkv5,
          .interpret = interpret_wkv5};
}

// Slots source_slots[i] to target_slots[i], in every layer.
OpInfo copy_slots() {
  return copy_units("copy_slots", slots_operand, [](HostState& state, int64_t layer, int64_t id) {
    if (id < 0 || id >= state.pages) refuse("slot ", id, " of ", state.pages);
    const int64_t size = state.slots.slot_elements();
    return std::span(state.values.data() + (layer * state.pages + id) * size, static_cast<size_t>(size));
  });
}

}  // namespace

std::vector<OpInfo> recurrence_ops() { return {token_shift(), wkv4(), wkv5(), copy_slots()}; }

}  // namespace mlc::graph
