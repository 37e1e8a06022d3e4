// Fuses slices, rotations and the cache append of one qkv value.
#include "graph/passes/fuse_rope_append.h"

#include <algorithm>

#include "base/check.h"
#include "graph/ops/registry.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

Node* producer_of(const Value* v, const char* op) {
  return v->producer && v->producer->op == op ? v->producer : nullptr;
}

struct Match {
  Node *slice_q, *slice_k, *slice_v, *rope_q, *rope_k, *append;
};

class Fuser {
 public:
  Fuser(const Module& module, Function& function)
      : module_(module),
        function_(function),
        uses_(find_uses(function)),
        positions_(node_positions(function)) {}

  void run() {
    for (auto& node : function_.nodes) {
      if (node->op != "kv_append") continue;
      if (auto match = find(*node)) node = fuse(*match);
    }
    erase_nodes(function_, dead_);
  }

 private:
  bool single_use(const Node* node) { return uses_[node->outputs[0]].size() == 1; }

  std::optional<Match> find(Node& append) {
    Node* rope_k = producer_of(append.inputs[0], "rope");
    Node* slice_v = producer_of(append.inputs[1], "slice");
    Node* slice_k = rope_k ? producer_of(rope_k->inputs[0], "slice") : nullptr;
    if (!slice_v || !slice_k || slice_v->inputs != slice_k->inputs) return std::nullopt;
    if (!single_use(rope_k) || !single_use(slice_k) || !single_use(slice_v)) return std::nullopt;
    int64_t total = slice_v->inputs[0]->type.shape[1].constant();
    if (slice_k->get_int("end") != slice_v->get_int("begin") || slice_v->get_int("end") != total)
      return std::nullopt;
    for (Node* slice_q : uses_[slice_k->inputs[0]]) {
      if (!slice_q || slice_q->op != "slice" || slice_q->get_int("begin") != 0 || !single_use(slice_q) ||
          slice_q->get_int("end") != slice_k->get_int("begin"))
        continue;
      Node* rope_q = uses_[slice_q->outputs[0]][0];
      if (rope_q && is_like(*rope_q, *rope_k) && used_only_after(rope_q->outputs[0], append))
        return Match{slice_q, slice_k, slice_v, rope_q, rope_k, &append};
    }
    return std::nullopt;
  }

  static bool is_like(const Node& rope_q, const Node& rope_k) {
    return rope_q.op == "rope" && rope_q.inputs[1] == rope_k.inputs[1] &&
           rope_q.attributes == rope_k.attributes;
  }

  bool used_only_after(const Value* v, const Node& append) {
    const std::vector<Node*>& users = uses_[v];
    return std::all_of(users.begin(), users.end(),
                       [&](const Node* user) { return !user || positions_[user] > positions_[&append]; });
  }

  std::unique_ptr<Node> fuse(const Match& m) {
    const PagedState& cache = *module_.find_state(m.append->state);
    auto node = std::make_unique<Node>();
    node->op = "rope_append";
    node->state = m.append->state;
    node->inputs = {m.slice_q->inputs[0], m.rope_q->inputs[1], m.append->inputs[2]};
    node->attributes = m.rope_q->attributes;
    node->attributes["layer"] = m.append->get_int("layer");
    node->attributes["heads"] = m.slice_q->get_int("end") / cache.key_dim;
    node->attributes["kv_heads"] = cache.kv_heads;
    node->outputs = {std::exchange(m.rope_q->outputs, {})[0]};
    node->outputs[0]->producer = node.get();
    dead_.insert({m.slice_q, m.slice_k, m.slice_v, m.rope_q, m.rope_k});
    return node;
  }

  const Module& module_;
  Function& function_;
  Uses uses_;
  std::unordered_map<const Node*, size_t> positions_;
  std::unordered_set<const Node*> dead_;
};

}  // namespace

void fuse_rope_append(Module& module) {
  for (const auto& f : module.functions) Fuser(module, *f).run();
}

}  // namespace mlc::graph
