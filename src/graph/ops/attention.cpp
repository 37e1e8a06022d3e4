// attention: causal softmax attention of each row over the cached keys of its sequence.
//
// Operands: q, row_sequence, positions, page_indptr, page_ids; with a sliding window also skip_begin,
// skip_count (i32 per sequence) and, where heads are rotated, key_factors. A row at position p attends to the
// sequence's tokens 0..p. The storage index of token i is i, or i + skip_count from skip_begin on: dropped
// tokens stay in pages that are kept in part. Dropping moves the tokens behind it to lower positions, so
// their keys are stored unrotated: token i's key is rotated here, by row i of key_factors.
#include <algorithm>
#include <cmath>

#include "graph/ops/cache.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/ops/rope.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

void check_window(const Node& node, const KvCache& cache) {
  if (node.inputs.size() == 6) refuse("has skip_begin but no skip_count");
  for (size_t i : {5, 6})
    if (index_operand(node, i) + 1 != index_operand(node, 3))
      refuse(describe(node, i), " is not one per sequence");
  if (node.inputs.size() == 7) return;
  int64_t rotary_dim = int_attribute(node, "rotary_dim", 2, cache.head_dim);
  if (rotary_dim % 2 != 0) refuse("attribute 'rotary_dim' is odd: ", rotary_dim);
  bool_attribute_or(node, "interleaved", false);
  if (columns(activation_operand(node, 7)) != rotary_dim)
    refuse(describe(node, 7), " does not have ", rotary_dim, " columns");
}

std::vector<TensorType> infer(const Node& node, const Module& module) {
  const KvCache& cache = cache_operand(node, module);
  const TensorType& q = activation_operand(node, 0);
  int64_t heads = int_attribute(node, "heads", 1, 1 << 20);
  if (heads % cache.kv_heads != 0)
    refuse(heads, " heads do not share ", cache.kv_heads, " key/value heads evenly");
  if (columns(q) != heads * cache.head_dim)
    refuse(describe(node, 0), " does not have ", heads * cache.head_dim, " columns");
  positive_attribute(node, "scale");
  for (size_t i : {1, 2}) {
    index_operand(node, i);
    check_equal_rows(node, i, q.shape[0]);
  }
  index_operand(node, 3);
  index_operand(node, 4);
  if (node.inputs.size() > 5) check_window(node, cache);
  return {q};
}

// The cache slots of tokens 0..last of one sequence.
std::vector<int64_t> sequence_slots(const Inputs& in, int64_t sequence, int64_t last, int64_t page_size) {
  const HostTensor &indptr = *in[3], &page_ids = *in[4];
  if (sequence < 0 || sequence + 1 >= indptr.shape[0])
    refuse("attention: sequence ", sequence, " does not exist");
  int64_t begin = indptr.ints[sequence], end = indptr.ints[sequence + 1];
  int64_t skip_begin = in.size() > 5 ? in[5]->ints[sequence] : 0,
          skip_count = in.size() > 5 ? in[6]->ints[sequence] : 0;
  if (skip_begin < 0 || skip_count < 0)
    refuse("attention: sequence ", sequence, " skips ", skip_count, " tokens from ", skip_begin, " on");
  auto stored = [&](int64_t t) { return t < skip_begin ? t : t + skip_count; };
  if (begin < 0 || end < begin || end > page_ids.shape[0] || last < 0 ||
      stored(last) >= (end - begin) * page_size)
    refuse("attention: position ", last, " of sequence ", sequence, " lies outside of its pages ", begin,
           "..", end);
  std::vector<int64_t> slots;
  for (int64_t t = 0; t <= last; ++t)
    slots.push_back(page_ids.ints[begin + stored(t) / page_size] * page_size + stored(t) % page_size);
  return slots;
}

// The key of the sequence's token t, which is stored in a slot.
std::vector<float> key_of(const Node& node, const Inputs& in, HostState& state, int64_t kv_head, int64_t t,
                          int64_t slot) {
  int64_t n = state.cache.head_dim;
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

void attend(const Node& node, const Inputs& in, const float* q, float* out, HostState& state, int64_t kv_head,
            const std::vector<int64_t>& slots) {
  int64_t n = state.cache.head_dim;
  std::vector<double> scores(slots.size()), sum(static_cast<size_t>(n));
  double largest = -INFINITY, total = 0;
  for (size_t t = 0; t < slots.size(); ++t) {
    const std::vector<float> key = key_of(node, in, state, kv_head, static_cast<int64_t>(t), slots[t]);
    for (int64_t d = 0; d < n; ++d) scores[t] += static_cast<double>(q[d]) * key[d];
    scores[t] *= node.get_double("scale");
    largest = std::max(largest, scores[t]);
  }
  for (size_t t = 0; t < slots.size(); ++t) {
    double weight = std::exp(scores[t] - largest);
    const float* value = cached_head(state, node.get_int("layer"), true, kv_head, slots[t]);
    for (int64_t d = 0; d < n; ++d) sum[d] += weight * value[d];
    total += weight;
  }
  for (int64_t d = 0; d < n; ++d) out[d] = static_cast<float>(sum[d] / total);
}

std::vector<HostTensor> interpret(const Node& node, const Inputs& in, const Inputs&,
                                  InterpretContext& context) {
  HostState& state = context.states.at(node.state);
  const HostTensor& q = *in[0];
  int64_t heads = node.get_int("heads"), n = state.cache.head_dim, sharing = heads / state.cache.kv_heads;
  HostTensor out = make_floats(q.shape);
  for (int64_t r = 0; r < q.shape[0]; ++r) {
    std::vector<int64_t> slots = sequence_slots(in, in[1]->ints[r], in[2]->ints[r], state.cache.page_size);
    for (int64_t h = 0; h < heads; ++h) {
      int64_t at = r * q.shape[1] + h * n;
      attend(node, in, q.floats.data() + at, out.floats.data() + at, state, h / sharing, slots);
    }
  }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> attention_ops() {
  return {{.name = "attention",
           .min_inputs = 5,
           .max_inputs = 8,
           .has_state = true,
           .required_attributes = {"layer", "heads", "scale"},
           .infer = infer,
           .interpret = interpret}};
}

}  // namespace mlc::graph
