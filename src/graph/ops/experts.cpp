// Mixture of experts: route picks k of the experts for each row, which gives the row k slots; expert_matmul
// multiplies each slot by its expert's weight; expert_sum adds a row's slots. Where an expert serves several
// slots, group_slots puts its slots side by side, so that kernels read its weight once for all of them.
//
//   route(logits f32[rows, E]) {k, renormalize = false, groups = 1, kept_groups = groups, scale = 1.0}
//   -> ids i32[rows, k], weights f32[rows, k]
//     The k largest logits, largest first; of equal ones the lower expert first. Infinite logits count as
//     +-1e38, NaN as -1e38: ids are experts always. Where the experts stand in `groups` equal runs, only
//     those of kept_groups groups are chosen from: of those with the largest logits, of equal ones the lower
//     group (group_limited_greedy, arXiv:2405.04434). Weights are `scale` times the softmax over all logits,
//     or, renormalize, over the chosen ones; a row with a NaN has weights of NaN.
//   expert_matmul(x, weight [E, N, K], ids i32[rows, k]) -> f32[rows * k, N]
//     Slot s = row * k + j has expert ids[row, j] and row s of x [rows * k, K], or row s / k of x [rows, K].
//   expert_matmul(x [slots, K], weight [E, N, K], indptr i32[E + 1]) {k} -> f32[slots, N]
//     Rows indptr[e] .. indptr[e + 1] - 1 have expert e, at most slots / k of them; each row has one.
//   group_slots(ids i32[rows, k]) {experts, of_places = false} -> slot_rows i32[rows * k], places i32[rows,
//   k], indptr i32[experts + 1]; of_places: also place_experts i32[rows * k]
//     A stable sort of the slots by expert: place p has a slot of row slot_rows[p] and of expert
//     place_experts[p], slot j of a row lies at places[row, j].
//   expert_sum(y [rows * k, N], weights f32[rows, k], places i32[rows, k] or none) -> f32[rows, N]
//     Sum over j, in order, of weights[row, j] * y[place of the row's slot j].
#include <algorithm>
#include <cmath>

#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/ops/norm.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;
constexpr int64_t kMaxExperts = 1 << 15;

// Operand i as i32 [rows, k].
const TensorType& slots_operand(const Node& node, size_t i) {
  const TensorType& type = node.inputs[i]->type;
  if (type.kind != TensorType::Kind::kPlain || type.dtype() != DType::kI32 || type.shape.size() != 2 ||
      !type.shape[1].is_const())
    refuse(describe(node, i), " is no i32[rows, k] with a constant k");
  return type;
}
Dim slots_of(const TensorType& ids) { return ids.shape[0] * ids.shape[1]; }

std::vector<TensorType> infer_route(const Node& node, const Module&) {
  const TensorType& logits = activation_operand(node, 0);
  int64_t k = int_attribute(node, "k", 1, std::min(columns(logits), kMaxExperts));
  bool_attribute_or(node, "renormalize", false);
  if (node.attributes.count("scale")) positive_attribute(node, "scale");
  if (node.attributes.count("groups")) {
    const int64_t groups = int_attribute(node, "groups", 1, columns(logits)),
                  kept = int_attribute(node, "kept_groups", 1, groups);
    if (columns(logits) % groups != 0)
      refuse(columns(logits), " experts do not stand in ", groups, " equal groups");
    if (kept * (columns(logits) / groups) < k)
      refuse(kept, " groups of ", columns(logits) / groups, " experts have no ", k, " to choose");
  }
  Shape shape = {logits.shape[0], k};
  return {TensorType::plain(DType::kI32, shape), TensorType::plain(DType::kF32, shape)};
}

// The groups in order of their largest keys, of which the first are chosen from.
template <typename Key>
std::vector<bool> kept_groups(int64_t experts, int64_t groups, int64_t kept, const Key& key) {
  const int64_t size = experts / groups;
  std::vector<float> largest;
  std::vector<size_t> order;
  for (int64_t g = 0; g < groups; ++g) {
    order.push_back(size_t(g));
    largest.push_back(key(g * size));
    for (int64_t e = g * size; e < (g + 1) * size; ++e) largest.back() = std::max(largest.back(), key(e));
  }
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return largest[a] > largest[b]; });
  std::vector<bool> keeps(size_t(groups), false);
  for (int64_t i = 0; i < kept; ++i) keeps[order[size_t(i)]] = true;
  return keeps;
}

std::vector<HostTensor> interpret_route(const Node& node, const Inputs& in, const Inputs&,
                                        InterpretContext&) {
  constexpr float kLargest = 1e38f;
  const HostTensor& logits = *in[0];
  const int64_t rows = logits.shape[0], experts = logits.shape[1], k = node.get_int("k");
  const int64_t groups = node.get_int_or("groups", 1), kept = node.get_int_or("kept_groups", groups);
  const double scale = node.attributes.count("scale") ? node.get_double("scale") : 1;
  HostTensor ids{DType::kI32, {rows, k}, {}, {}}, weights = make_floats({rows, k});
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits.floats.data() + r * experts;
    auto key = [&](int64_t e) {
      return std::isnan(row[e]) ? -kLargest : std::clamp(row[e], -kLargest, kLargest);
    };
    std::vector<int32_t> order(static_cast<size_t>(experts));
    for (int64_t e = 0; e < experts; ++e) order[size_t(e)] = static_cast<int32_t>(e);
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return key(a) > key(b); });
    const std::vector<bool> keeps = kept_groups(experts, groups, kept, key);
    std::erase_if(order, [&](int32_t e) { return !keeps[size_t(e / (experts / groups))]; });
    auto power = [&](int64_t e) {
      return std::isnan(row[e]) ? double{row[e]} : std::exp(double{key(e)} - double{key(order[0])});
    };
    double all = 0, chosen = 0;
    for (int64_t e = 0; e < experts; ++e) all += power(e);
    for (int64_t j = 0; j < k; ++j) chosen += power(order[size_t(j)]);
    double sum = node.get_bool_or("renormalize", false) ? chosen + 0 * all : all;
    for (int64_t j = 0; j < k; ++j) {
      ids.ints.push_back(order[size_t(j)]);
      weights.floats[size_t(r * k + j)] = static_cast<float>(scale * power(order[size_t(j)]) / sum);
    }
  }
  return {std::move(ids), std::move(weights)};
}

std::vector<TensorType> infer_group(const Node& node, const Module&) {
  const TensorType& ids = slots_operand(node, 0);
  int64_t experts = int_attribute(node, "experts", 1, kMaxExperts);
  const TensorType slots = TensorType::plain(DType::kI32, {slots_of(ids)});
  std::vector<TensorType> results = {slots, ids, TensorType::plain(DType::kI32, {experts + 1})};
  if (bool_attribute_or(node, "of_places", false)) results.push_back(slots);
  return results;
}

void check_expert(int64_t id, int64_t experts) {
  if (id < 0 || id >= experts) refuse("expert ", id, " of ", experts);
}

std::vector<HostTensor> interpret_group(const Node& node, const Inputs& in, const Inputs&,
                                        InterpretContext&) {
  const HostTensor& ids = *in[0];
  const int64_t k = ids.shape[1], slots = ids.elements(), experts = node.get_int("experts");
  HostTensor rows{DType::kI32, {slots}, {}, {}}, places{DType::kI32, ids.shape, {}, {}},
      indptr{DType::kI32, {experts + 1}, {}, {0}}, of_places{DType::kI32, {slots}, {}, {}};
  places.ints.resize(size_t(slots));
  for (int32_t id : ids.ints) check_expert(id, experts);
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t s = 0; s < slots; ++s) {
      if (ids.ints[size_t(s)] != e) continue;
      places.ints[size_t(s)] = static_cast<int32_t>(rows.ints.size());
      rows.ints.push_back(static_cast<int32_t>(s / k));
      of_places.ints.push_back(static_cast<int32_t>(e));
    }
    indptr.ints.push_back(static_cast<int32_t>(rows.ints.size()));
  }
  std::vector<HostTensor> results = {std::move(rows), std::move(places), std::move(indptr)};
  if (node.get_bool_or("of_places", false)) results.push_back(std::move(of_places));
  return results;
}

// The matmul that an expert_matmul is for the rows of each expert.
struct OneExpert {
  Value x, weight, out;
  Node matmul;
  OneExpert(const Node& node) : x(*node.inputs[0]), weight(*node.inputs[1]) {
    weight.type.shape.erase(weight.type.shape.begin());
    matmul.op = "matmul";
    matmul.inputs = {&x, &weight};
    matmul.region = node.region;
    if (!node.outputs.empty()) out.type = node.outputs[0]->type;
    matmul.outputs = {&out};
  }
};

std::vector<TensorType> infer_matmul(const Node& node, const Module& module) {
  const TensorType &x = node.inputs[0]->type, &w = node.inputs[1]->type, &by = node.inputs[2]->type;
  if (w.shape.size() != 3 || !w.shape[0].is_const())
    refuse(describe(node, 1), " is no stack of weight matrices");
  if (x.is_tiled()) refuse(describe(node, 0), " lies in tiles, which experts do not take");
  if (w.format.is_quantized() && w.format.transposed)
    refuse(describe(node, 1), " is stored KN, experts are NK");
  for (const Value* operand : node.region.operands)
    refuse("region with an operand (", operand->type.text(), ")");
  check_matmul_norm(node);
  Dim slots = x.shape[0];
  if (by.shape.size() == 2) {
    const TensorType& ids = slots_operand(node, 2);
    slots = slots_of(ids);
    if (x.shape[0] != ids.shape[0] && x.shape[0] != slots)
      refuse(describe(node, 0), " does not have ", ids.shape[0].text(), " or ", slots.text(), " rows");
  } else if (int_attribute(node, "k", 1, kMaxExperts); index_operand(node, 2) != w.shape[0] + Dim(1)) {
    refuse(describe(node, 2), " is no i32[", (w.shape[0] + Dim(1)).text(), "]");
  }
  TensorType out = find_op("matmul")->infer(OneExpert(node).matmul, module)[0];
  out.shape[0] = slots;
  return {out};
}

std::vector<HostTensor> interpret_matmul(const Node& node, const Inputs& in, const Inputs& operands,
                                         InterpretContext& context) {
  const HostTensor x = normed(node, in);
  const HostTensor &w = *in[1], &by = *in[2];
  const int64_t experts = w.shape[0], n = w.shape[1], k = w.shape[2];
  const bool grouped = by.shape.size() == 1;
  HostTensor out =
      make_floats({grouped ? x.shape[0] : by.elements(), node.outputs[0]->type.shape[1].constant()});
  const int64_t slots = out.shape[0], share = grouped ? 1 : slots / std::max<int64_t>(1, x.shape[0]);
  std::vector<std::vector<int64_t>> slots_of_expert(static_cast<size_t>(experts));
  for (int64_t e = 0; grouped && e < experts; ++e)
    for (int64_t s = by.ints[size_t(e)]; s < by.ints[size_t(e) + 1]; ++s) {
      if (s < 0 || s >= slots) refuse("expert ", e, " ends at row ", by.ints[size_t(e) + 1], " of ", slots);
      slots_of_expert[size_t(e)].push_back(s);
    }
  for (int64_t s = 0; !grouped && s < slots; ++s) {
    check_expert(by.ints[size_t(s)], experts);
    slots_of_expert[size_t(by.ints[size_t(s)])].push_back(s);
  }
  const OneExpert expert(node);
  for (int64_t e = 0; e < experts; ++e) {
    const std::vector<int64_t>& mine = slots_of_expert[size_t(e)];
    if (mine.empty()) continue;
    std::vector<int32_t> x_rows;
    for (int64_t s : mine) x_rows.push_back(static_cast<int32_t>(s / share));
    HostTensor weight = make_floats({n, k});
    std::copy_n(w.floats.begin() + e * n * k, n * k, weight.floats.begin());
    HostTensor rows = take_rows(x, x_rows);
    HostTensor y = find_op("matmul")->interpret(expert.matmul, {&rows, &weight}, operands, context)[0];
    for (size_t i = 0; i < mine.size(); ++i)
      std::copy_n(y.floats.begin() + int64_t(i) * out.shape[1], out.shape[1],
                  out.floats.begin() + mine[i] * out.shape[1]);
  }
  return {std::move(out)};
}

std::vector<TensorType> infer_sum(const Node& node, const Module&) {
  const TensorType &y = activation_operand(node, 0), &weights = activation_operand(node, 1);
  if (y.shape[0] != slots_of(weights))
    refuse(describe(node, 0), " does not have ", slots_of(weights).text(), " rows");
  if (node.inputs.size() > 2 && slots_operand(node, 2).shape != weights.shape)
    refuse(describe(node, 2), " is no i32[", weights.shape[0].text(), ", ", weights.shape[1].text(), "]");
  return {TensorType::plain(DType::kF32, {weights.shape[0], y.shape[1]})};
}

std::vector<HostTensor> interpret_sum(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  const HostTensor &y = *in[0], &weights = *in[1];
  const int64_t k = weights.shape[1], n = y.shape[1];
  HostTensor out = make_floats({weights.shape[0], n});
  for (int64_t r = 0; r < weights.shape[0]; ++r)
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0;
      for (int64_t s = r * k; s < (r + 1) * k; ++s) {
        int64_t place = in.size() > 2 ? in[2]->ints[size_t(s)] : s;
        if (place < 0 || place >= y.shape[0]) refuse("place ", place, " of ", y.shape[0], " slots");
        sum += double{weights.floats[size_t(s)]} * y.floats[size_t(place * n + c)];
      }
      out.floats[size_t(r * n + c)] = static_cast<float>(sum);
    }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> expert_ops() {
  return {{.name = "route",
           .min_inputs = 1,
           .max_inputs = 1,
           .required_attributes = {"k"},
           .infer = infer_route,
           .interpret = interpret_route},
          {.name = "group_slots",
           .min_inputs = 1,
           .max_inputs = 1,
           .required_attributes = {"experts"},
           .infer = infer_group,
           .interpret = interpret_group},
          {.name = "expert_matmul",
           .min_inputs = 3,
           .max_inputs = 5,
           .region = RegionKind::kResults,
           .infer = infer_matmul,
           .interpret = interpret_matmul},
          {.name = "expert_sum",
           .min_inputs = 2,
           .max_inputs = 3,
           .infer = infer_sum,
           .interpret = interpret_sum}};
}

}  // namespace mlc::graph
