// attention: softmax attention of each row over the cached keys of its sequence.
//
// Operands: q, row_sequence, limits, page_indptr, page_ids; where a rolling window drops tokens also
// skip_begin, skip_count (i32 per sequence) and, where heads are rotated, key_factors. A row with limit L
// sees the sequence's tokens 0..L-1 (1 <= L): up to itself where attention is causal, all where it looks both
// ways. With attribute `masked` an operand mask (i32 per row) follows page_ids: bit d, 1 <= d <= 30, hides
// token L-1-d, so that the rows of a step can be a tree of which each sees its ancestors alone. What a mask
// hides counts neither for a window nor as distance; it is not beside a rolling window or `alibi`. Attribute
// `window` W > 0 leaves it the last W of them, max(0, L - W)..L-1, or with a mask that hides h tokens max(0,
// L - h - W)..L-1 (W is not less than a tree may have); pages that lie wholly before those of all rows of a
// sequence are not read. A score is what the node's region makes of x = scale * q.k and, with attribute
// `alibi` B, of bias = slope * (t - (L - 1)) for token t, with the slope of the head (alibi_slope in math.h):
// `tanh(x * 0.02) * 50.0`, `x + bias`.
// With attribute `sinks` the last operand, [heads], has one more score of each head, of a token without a
// value that every row sees: it takes part in the softmax's denominator alone (arXiv:2309.17453,
// section 3.3).
//
// The storage index of token i is i, or i + skip_count from skip_begin on: dropped tokens stay in pages that
// are kept in part. Dropping moves the tokens behind it to lower positions, so their keys are stored
// unrotated: token i's key is rotated here, by row i of key_factors.
//
// attention_part and attention_join do the same for one row in two steps, so that a long context is work for
// many threads: part p covers the tokens stored in pages p * part_pages and following of the sequence. Per
// head it gives the sum over its tokens of exp(score - largest) * value, then the part's largest score and
// its sum of exp(score - largest); a part without tokens gives 0, -3e38 and 0. The join, which has the sinks
// as its third operand, weighs the parts; with output = "q8g16", "q8g32" or "q8g40" it quantizes as
// quantize_q8 does.
#include <algorithm>
#include <bit>
#include <cmath>

#include "formats/plan.h"
#include "graph/ops/cache.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/ops/rope.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

constexpr int64_t kMask = 5;  // the operand, where there is one

bool is_masked(const Node& node) { return node.get_bool_or("masked", false); }

// Operands but for the sinks.
size_t without_sinks(const Node& node) {
  return node.inputs.size() - (node.get_bool_or("sinks", false) ? 1 : 0);
}

void check_mask(const Node& node, const Dim& rows) {
  if (without_sinks(node) != kMask + 1)
    refuse("has a mask and ", without_sinks(node), " operands, expected ", kMask + 1);
  if (node.attributes.count("alibi")) refuse("has a mask and biases by distance, which do not know of it");
  if (const int64_t window = node.get_int_or("window", kMostTreeTokens); window < kMostTreeTokens)
    refuse("has a mask and a window of ", window, " tokens, expected at least ", kMostTreeTokens);
  index_operand(node, kMask);
  check_equal_rows(node, kMask, rows);
}

void check_rolling(const Node& node, const PagedState& cache) {
  if (without_sinks(node) == 6) refuse("has skip_begin but no skip_count");
  for (size_t i : {5, 6})
    if (index_operand(node, i) + 1 != index_operand(node, 3))
      refuse(describe(node, i), " is not one per sequence");
  if (without_sinks(node) == 7) return;
  if (cache.latent) refuse("rotates keys of $", cache.name, ", which holds latents");
  int64_t rotary_dim = int_attribute(node, "rotary_dim", 2, cache.key_dim);
  if (rotary_dim % 2 != 0) refuse("attribute 'rotary_dim' is odd: ", rotary_dim);
  bool_attribute_or(node, "interleaved", false);
  if (columns(activation_operand(node, 7)) != rotary_dim)
    refuse(describe(node, 7), " does not have ", rotary_dim, " columns");
}

std::vector<TensorType> infer(const Node& node, const Module& module) {
  const PagedState& cache = cache_operand(node, module);
  const TensorType& q = activation_operand(node, 0);
  int64_t heads = int_attribute(node, "heads", 1, 1 << 20);
  if (heads % cache.kv_heads != 0)
    refuse(heads, " heads do not share ", cache.kv_heads, " key/value heads evenly");
  if (columns(q) != heads * cache.key_dim)
    refuse(describe(node, 0), " does not have ", heads * cache.key_dim, " columns");
  positive_attribute(node, "scale");
  if (node.attributes.count("alibi")) positive_attribute(node, "alibi");
  check_score_region(node.region, node.attributes.count("alibi") != 0);
  if (node.attributes.count("window")) int_attribute(node, "window", 1, 1 << 30);
  for (size_t i : {1, 2}) {
    index_operand(node, i);
    check_equal_rows(node, i, q.shape[0]);
  }
  index_operand(node, 3);
  index_operand(node, 4);
  bool_attribute_or(node, "sinks", false);
  if (without_sinks(node) < 5) refuse("has sinks but no page_ids");
  if (without_sinks(node) < node.inputs.size()) check_float_vector(node, without_sinks(node), heads);
  if (bool_attribute_or(node, "masked", false))
    check_mask(node, q.shape[0]);
  else if (without_sinks(node) > 5)
    check_rolling(node, cache);
  return {TensorType::plain(DType::kF32, {q.shape[0], heads * cache.value_dim})};
}

// The tokens that a row sees: first .. slots.size() - 1 of its sequence. Slots of those before and of hidden
// ones are -1.
struct SeenTokens {
  size_t first = 0;
  std::vector<int64_t> slots;
};

SeenTokens seen_tokens(const Node& node, const Inputs& in, int64_t row, int64_t page_size) {
  const int64_t sequence = in[1]->ints[row], limit = in[2]->ints[row];
  const HostTensor &indptr = *in[3], &page_ids = *in[4];
  const bool rolling = in.size() > 5 && !is_masked(node);
  const auto mask = is_masked(node) ? static_cast<uint32_t>(in[kMask]->ints[row]) : 0u;
  auto hides = [&](int64_t t) { return limit - 1 - t < 32 && (mask >> (limit - 1 - t) & 1) != 0; };
  if (sequence < 0 || sequence + 1 >= indptr.shape[0])
    refuse("attention: sequence ", sequence, " does not exist");
  int64_t begin = indptr.ints[sequence], end = indptr.ints[sequence + 1];
  int64_t skip_begin = rolling ? in[5]->ints[sequence] : 0, skip_count = rolling ? in[6]->ints[sequence] : 0;
  if (skip_begin < 0 || skip_count < 0)
    refuse("attention: sequence ", sequence, " skips ", skip_count, " tokens from ", skip_begin, " on");
  auto stored = [&](int64_t t) { return t < skip_begin ? t : t + skip_count; };
  if (begin < 0 || end < begin || end > page_ids.shape[0] || limit < 1 ||
      stored(limit - 1) >= (end - begin) * page_size)
    refuse("attention: limit ", limit, " of sequence ", sequence, " lies outside of its pages ", begin, "..",
           end);
  if (mask & 0x80000001u || (mask != 0 && int64_t{std::bit_width(mask)} > limit))
    refuse("attention: the mask of row ", row, " is ", mask, ", expected bits of tokens before its last");
  const int64_t window = node.get_int_or("window", limit), last = limit - std::popcount(mask);
  SeenTokens seen{.first = static_cast<size_t>(std::max<int64_t>(0, last - window)), .slots = {}};
  seen.slots.resize(static_cast<size_t>(limit), -1);
  for (auto t = static_cast<int64_t>(seen.first); t < limit; ++t)
    if (!hides(t))
      seen.slots[static_cast<size_t>(t)] =
          page_ids.ints[begin + stored(t) / page_size] * page_size + stored(t) % page_size;
  return seen;
}

// The key of the sequence's token t, which is stored in a slot.
std::vector<float> key_of(const Node& node, const Inputs& in, HostState& state, int64_t kv_head, int64_t t,
                          int64_t slot) {
  int64_t n = state.cache.key_dim;
  const float* stored = cached_head(state, node.get_int("layer"), false, kv_head, slot);
  std::vector<float> key(stored, stored + n);
  if (in.size() < 8) return key;
  if (t >= in[7]->shape[0])
    refuse("attention: token ", t, " has no row among ", in[7]->shape[0], " of key_factors");
  int64_t rotary_dim = node.get_int("rotary_dim");
  rotate_heads(key.data(), in[7]->floats.data() + t * rotary_dim, 1, n, rotary_dim,
               node.get_bool_or("interleaved", false));
  return key;
}

// A softmax over some tokens before its division.
struct PartialSoftmax {
  double largest = -INFINITY, total = 0;
  std::vector<double> sum;
};

// A query head over the tokens [first, last) of the sequence.
PartialSoftmax attend(const Node& node, const Inputs& in, const float* q, HostState& state, int64_t head,
                      const std::vector<int64_t>& slots, size_t first, size_t last) {
  const int64_t heads = node.get_int("heads"), kv_head = head / (heads / state.cache.kv_heads);
  const bool biased = node.attributes.count("alibi") != 0;
  const double slope = biased ? alibi_slope(head, heads, node.get_double("alibi")) : 0;
  const int64_t n = state.cache.key_dim, wide = state.cache.value_dim;
  PartialSoftmax s{.sum = std::vector<double>(static_cast<size_t>(wide))};
  std::vector<double> scores(slots.size());
  for (size_t t = first; t < last; ++t) {
    if (slots[t] < 0) continue;
    const std::vector<float> key = key_of(node, in, state, kv_head, static_cast<int64_t>(t), slots[t]);
    for (int64_t d = 0; d < n; ++d) scores[t] += static_cast<double>(q[d]) * key[d];
    std::vector<double> computed = {scores[t] * node.get_double("scale")};
    if (biased) computed.push_back(slope * (static_cast<double>(t) - static_cast<double>(slots.size() - 1)));
    scores[t] = apply_region(node.region, {}, 0, std::move(computed))[0];
    s.largest = std::max(s.largest, scores[t]);
  }
  for (size_t t = first; t < last; ++t) {
    if (slots[t] < 0) continue;
    double weight = std::exp(scores[t] - s.largest);
    const float* value = cached_head(state, node.get_int("layer"), true, kv_head, slots[t]);
    for (int64_t d = 0; d < wide; ++d) s.sum[d] += weight * value[d];
    s.total += weight;
  }
  return s;
}

// Divides by the softmax's denominator, of which a sink is a part.
float finished(const PartialSoftmax& s, size_t d, const float* sink) {
  if (!sink) return static_cast<float>(s.sum[d] / s.total);
  const double largest = std::max<double>(s.largest, *sink), share = std::exp(s.largest - largest);
  return static_cast<float>(s.sum[d] * share / (s.total * share + std::exp(*sink - largest)));
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& all, const Inputs&,
                                  InterpretContext& context) {
  const Inputs in(all.begin(), all.begin() + static_cast<int64_t>(without_sinks(node)));
  const HostTensor* sinks = in.size() < all.size() ? all.back() : nullptr;
  HostState& state = context.states.at(node.state);
  const HostTensor& q = *in[0];
  int64_t heads = node.get_int("heads"), n = state.cache.key_dim;
  const int64_t wide = state.cache.value_dim;
  HostTensor out = make_floats({q.shape[0], heads * wide});
  for (int64_t r = 0; r < q.shape[0]; ++r) {
    const SeenTokens seen = seen_tokens(node, in, r, state.cache.page_size);
    for (int64_t h = 0; h < heads; ++h) {
      PartialSoftmax s = attend(node, in, q.floats.data() + r * q.shape[1] + h * n, state, h, seen.slots,
                                seen.first, seen.slots.size());
      float* to = out.floats.data() + r * out.shape[1] + h * wide;
      for (int64_t d = 0; d < wide; ++d)
        to[d] = finished(s, size_t(d), sinks ? &sinks->floats[size_t(h)] : nullptr);
    }
  }
  return {std::move(out)};
}

std::vector<TensorType> infer_part(const Node& node, const Module& module) {
  if (is_masked(node)) refuse("has a mask, which hides nothing from a row alone");
  infer(node, module);
  Dim parts = ceildiv(index_operand(node, 4), int_attribute(node, "part_pages", 1, 1 << 20));
  int64_t width = cache_operand(node, module).value_dim + 2;
  return {TensorType::plain(DType::kF32, {parts, node.get_int("heads") * width})};
}

std::vector<HostTensor> interpret_part(const Node& node, const Inputs& in, const Inputs&,
                                       InterpretContext& context) {
  HostState& state = context.states.at(node.state);
  const HostTensor& q = *in[0];
  if (q.shape[0] != 1) refuse("attention_part: ", q.shape[0], " rows, expected 1");
  int64_t heads = node.get_int("heads"), n = state.cache.key_dim;
  const int64_t wide = state.cache.value_dim;
  int64_t tokens = node.get_int("part_pages") * state.cache.page_size;
  int64_t parts = (in[4]->shape[0] * state.cache.page_size + tokens - 1) / tokens;
  const SeenTokens seen = seen_tokens(node, in, 0, state.cache.page_size);
  auto length = static_cast<int64_t>(seen.slots.size());
  int64_t skip_begin = in.size() > 5 ? in[5]->ints[in[1]->ints[0]] : length;
  int64_t skip_count = in.size() > 5 ? in[6]->ints[in[1]->ints[0]] : 0;
  // Tokens that are stored before index i, but those before the window count for all.
  auto before = [&](int64_t i) {
    int64_t live = i <= skip_begin ? i : std::max(skip_begin, i - skip_count);
    return std::max(seen.first, static_cast<size_t>(std::min(live, length)));
  };
  HostTensor out = make_floats({parts, heads * (wide + 2)});
  for (int64_t p = 0; p < parts; ++p)
    for (int64_t h = 0; h < heads; ++h) {
      PartialSoftmax s = attend(node, in, q.floats.data() + h * n, state, h, seen.slots, before(p * tokens),
                                before((p + 1) * tokens));
      float* to = out.floats.data() + (p * heads + h) * (wide + 2);
      for (int64_t d = 0; d < wide; ++d) to[d] = static_cast<float>(s.sum[d]);
      to[wide] = std::isinf(s.largest) ? -3e38f : static_cast<float>(s.largest);
      to[wide + 1] = static_cast<float>(s.total);
    }
  return {std::move(out)};
}

std::vector<TensorType> infer_join(const Node& node, const Module&) {
  int64_t heads = int_attribute(node, "heads", 1, 1 << 20);
  int64_t width = columns(activation_operand(node, 0));
  if (width % heads != 0 || width / heads < 3)
    refuse(describe(node, 0), " does not hold parts of ", heads, " heads");
  const Dim& rows = index_operand(node, 1);  // limits: how many rows there are
  Shape shape = {rows, width - 2 * heads};
  if (node.inputs.size() > 2) check_float_vector(node, 2, heads);
  if (!node.attributes.count("output")) return {TensorType::plain(DType::kF32, shape)};
  return {q8_attribute(node, shape)};
}

std::vector<HostTensor> interpret_join(const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
  const HostTensor& parts = *in[0];
  if (in[1]->shape[0] != 1) refuse("attention_join: ", in[1]->shape[0], " rows, expected 1");
  int64_t heads = node.get_int("heads"), n = parts.shape[1] / heads - 2;
  HostTensor out = make_floats({1, heads * n});
  for (int64_t h = 0; h < heads; ++h) {
    auto at = [&](int64_t p, int64_t i) { return double{parts.floats[(p * heads + h) * (n + 2) + i]}; };
    PartialSoftmax s{.sum = std::vector<double>(static_cast<size_t>(n))};
    for (int64_t p = 0; p < parts.shape[0]; ++p) s.largest = std::max(s.largest, at(p, n));
    for (int64_t p = 0; p < parts.shape[0]; ++p) {
      double weight = std::exp(at(p, n) - s.largest);
      for (int64_t d = 0; d < n; ++d) s.sum[size_t(d)] += weight * at(p, d);
      s.total += weight * at(p, n + 1);
    }
    const float* sink = in.size() > 2 ? &in[2]->floats[size_t(h)] : nullptr;
    for (int64_t d = 0; d < n; ++d) out.floats[size_t(h * n + d)] = finished(s, size_t(d), sink);
  }
  return {store_as(node.outputs[0]->type, std::move(out))};
}

}  // namespace

std::vector<OpInfo> attention_ops() {
  return {{.name = "attention",
           .min_inputs = 5,
           .max_inputs = 9,
           .has_state = true,
           .region = RegionKind::kScores,
           .required_attributes = {"layer", "heads", "scale"},
           .infer = infer,
           .interpret = interpret},
          {.name = "attention_join",
           .min_inputs = 2,
           .max_inputs = 3,
           .required_attributes = {"heads"},
           .infer = infer_join,
           .interpret = interpret_join},
          {.name = "attention_part",
           .min_inputs = 5,
           .max_inputs = 8,
           .has_state = true,
           .region = RegionKind::kScores,
           .required_attributes = {"layer", "heads", "scale", "part_pages"},
           .infer = infer_part,
           .interpret = interpret_part}};
}

}  // namespace mlc::graph
