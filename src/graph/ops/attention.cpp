// attention: causal softmax attention of each row over the cached keys of its sequence.
#include <algorithm>
#include <cmath>

#include "graph/ops/cache.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

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
  return {q};
}

// The cache slots of positions 0..last of one sequence.
std::vector<int64_t> sequence_slots(const Inputs& in, int64_t sequence, int64_t last, int64_t page_size) {
  const HostTensor &indptr = *in[3], &page_ids = *in[4];
  if (sequence < 0 || sequence + 1 >= indptr.shape[0])
    refuse("attention: sequence ", sequence, " does not exist");
  int64_t begin = indptr.ints[sequence], end = indptr.ints[sequence + 1];
  if (begin < 0 || end < begin || end > page_ids.shape[0] || last < 0 || last >= (end - begin) * page_size)
    refuse("attention: position ", last, " of sequence ", sequence, " lies outside of its pages ", begin,
           "..", end);
  std::vector<int64_t> slots;
  for (int64_t t = 0; t <= last; ++t)
    slots.push_back(page_ids.ints[begin + t / page_size] * page_size + t % page_size);
  return slots;
}

void attend(const float* q, float* out, HostState& state, int64_t layer, int64_t kv_head,
            const std::vector<int64_t>& slots, double scale) {
  int64_t n = state.cache.head_dim;
  std::vector<double> scores(slots.size()), sum(static_cast<size_t>(n));
  double largest = -INFINITY, total = 0;
  for (size_t t = 0; t < slots.size(); ++t) {
    const float* key = cached_head(state, layer, false, kv_head, slots[t]);
    for (int64_t d = 0; d < n; ++d) scores[t] += static_cast<double>(q[d]) * key[d];
    scores[t] *= scale;
    largest = std::max(largest, scores[t]);
  }
  for (size_t t = 0; t < slots.size(); ++t) {
    double weight = std::exp(scores[t] - largest);
    const float* value = cached_head(state, layer, true, kv_head, slots[t]);
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
      attend(q.floats.data() + at, out.floats.data() + at, state, node.get_int("layer"), h / sharing, slots,
             node.get_double("scale"));
    }
  }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> attention_ops() {
  return {{.name = "attention",
           .min_inputs = 5,
           .max_inputs = 5,
           .has_state = true,
           .required_attributes = {"layer", "heads", "scale"},
           .infer = infer,
           .interpret = interpret}};
}

}  // namespace mlc::graph
