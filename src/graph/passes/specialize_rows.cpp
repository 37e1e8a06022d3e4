// Clones functions into bodies guarded by the number of rows.
#include "graph/passes/specialize_rows.h"

#include <algorithm>

#include "graph/ops/registry.h"

namespace mlc::graph {
namespace {

struct Range {
  int64_t min, max;
};
constexpr Range kRanges[] = {{1, 1}, {2, 16}, {0, 0}};

bool multiplies(const Function& f) {
  return std::any_of(f.nodes.begin(), f.nodes.end(), [](const auto& n) { return is_matmul(*n); });
}

}  // namespace

std::string row_symbol(const Function& function) {
  for (const char* symbol : {"rows", "batch"})
    for (const Value* a : function.arguments)
      for (const Dim& d : a->type.shape)
        if (d == Dim::symbol(symbol)) return symbol;
  return "";
}

void specialize_rows(Module& module) {
  std::vector<std::unique_ptr<Function>> bodies;
  for (auto& f : module.functions) {
    bool unguarded = f->min_rows == 0 && f->max_rows == 0;
    bool alone = std::count_if(module.functions.begin(), module.functions.end(),
                               [&](const auto& g) { return g && g->name == f->name; }) == 1;
    if (!unguarded || !alone || row_symbol(*f).empty() || !multiplies(*f)) {
      bodies.push_back(std::move(f));
      continue;
    }
    for (const Range& range : kRanges) {
      bodies.push_back(clone(*f));
      bodies.back()->min_rows = range.min;
      bodies.back()->max_rows = range.max;
    }
  }
  module.functions = std::move(bodies);
}

}  // namespace mlc::graph
