// Arena offsets by lifetime.
#include "graph/passes/plan_memory.h"

#include <algorithm>
#include <unordered_set>

#include "base/strings.h"
#include "graph/passes/pack_intervals.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

constexpr int64_t kAlignment = 64;

// bytes = coefficient * factor, where factor has no constant part.
struct Monomial {
  int64_t coefficient;
  Dim factor;
};

Monomial decompose(const Dim& bytes) {
  if (bytes.is_const()) return {bytes.constant(), 1};
  if (bytes.op() != DimOp::kMul) return {1, bytes};
  Monomial a = decompose(bytes.lhs()), b = decompose(bytes.rhs());
  return {a.coefficient * b.coefficient, a.factor * b.factor};
}

// One piece of the arena; several values live in it one after the other when ops work in place.
struct Buffer {
  size_t group;
  int64_t size;        // coefficient, rounded up
  size_t first, last;  // nodes
  std::vector<const Value*> values;
};

class Planner {
 public:
  explicit Planner(const Function& f) : function_(f), uses_(find_uses(f)), positions_(node_positions(f)) {
    results_.insert(f.results.begin(), f.results.end());
  }

  MemoryPlan run() {
    for (const auto& node : function_.nodes)
      for (Value* out : node->outputs) place(*node, out);
    return pack();
  }

 private:
  // The value whose memory v reads.
  const Value* root(const Value* v) const {
    auto it = plan_.views.find(v);
    return it == plan_.views.end() ? v : it->second.base;
  }

  // Last node that reads v or a view of it. Slices stand after their operand, so views of views are found
  // recursively.
  size_t last_use(const Value* v) {
    size_t last = v->producer ? positions_[v->producer] : 0;
    for (const Node* user : uses_[v]) {
      if (!user) continue;
      bool view = user->op == "slice" && !results_.count(user->outputs[0]);
      last = std::max(last, view ? std::max(positions_[user], last_use(user->outputs[0])) : positions_[user]);
    }
    return last;
  }

  void place(const Node& node, const Value* out) {
    if (results_.count(out)) return;
    if (node.op == "slice") {
      auto it = plan_.views.find(node.inputs[0]);
      int64_t column = it == plan_.views.end() ? 0 : it->second.column;
      plan_.views[out] = {root(node.inputs[0]), column + node.get_int("begin")};
      return;
    }
    size_t position = positions_[&node], last = last_use(out);
    if (Buffer* reused = dying_operand(node, out)) {
      reused->last = last;
      reused->values.push_back(out);
      return;
    }
    Monomial m = decompose(out->type.bytes());
    auto group = std::find(groups_.begin(), groups_.end(), m.factor);
    if (group == groups_.end()) group = groups_.insert(group, m.factor);
    int64_t size = (m.coefficient + kAlignment - 1) / kAlignment * kAlignment;
    buffers_.push_back({static_cast<size_t>(group - groups_.begin()), size, position, last, {out}});
  }

  // For an elementwise node, the buffer of an operand of the result's size that nobody reads later.
  Buffer* dying_operand(const Node& node, const Value* out) {
    if (node.op != "map" || node.region.accumulators() != 1) return nullptr;
    for (const Value* in : operands_of(node))
      for (Buffer& b : buffers_)
        if (b.values.back() == in && b.last == positions_[&node] && in->type == out->type &&
            !is_viewed(node, in))
          return &b;
    return nullptr;
  }
  // Whether another operand of the node reads the same memory at other places.
  bool is_viewed(const Node& node, const Value* v) const {
    std::vector<Value*> all = operands_of(node);
    return std::any_of(all.begin(), all.end(),
                       [&](const Value* other) { return other != v && root(other) == v; });
  }
  static std::vector<Value*> operands_of(const Node& node) {
    std::vector<Value*> all = node.inputs;
    all.insert(all.end(), node.region.operands.begin(), node.region.operands.end());
    return all;
  }

  MemoryPlan pack() {
    for (size_t g = 0; g < groups_.size(); ++g) {
      std::vector<Interval> intervals;
      for (const Buffer& b : buffers_)
        if (b.group == g) intervals.push_back({b.size, b.first, b.last});
      int64_t size = pack_intervals(intervals);
      size_t next = 0;
      for (const Buffer& b : buffers_) {
        if (b.group != g) continue;
        for (const Value* v : b.values) plan_.offsets[v] = plan_.total + groups_[g] * intervals[next].offset;
        ++next;
      }
      plan_.total = plan_.total + groups_[g] * size;
    }
    return std::move(plan_);
  }

  const Function& function_;
  Uses uses_;
  std::unordered_map<const Node*, size_t> positions_;
  std::unordered_set<const Value*> results_;
  std::vector<Dim> groups_;
  std::vector<Buffer> buffers_;
  MemoryPlan plan_;
};

}  // namespace

std::string MemoryPlan::text(const Function& function) const {
  std::string out;
  for (const auto& v : function.values) {
    auto offset = offsets.find(v.get());
    auto view = views.find(v.get());
    if (offset != offsets.end()) out += str("%", v->name, " at ", offset->second.text(), "\n");
    if (view != views.end())
      out += str("%", v->name, " is %", view->second.base->name, " from column ", view->second.column, "\n");
  }
  return out + "total " + total.text() + "\n";
}

MemoryPlan plan_memory(const Function& function) { return Planner(function).run(); }

}  // namespace mlc::graph
