// Clones functions into bodies guarded by the number of rows.
#include "graph/passes/specialize_rows.h"

#include <algorithm>

#include "graph/ops/registry.h"

namespace mlc::graph {
namespace {

constexpr char kWanted[] = "wanted";

bool multiplies(const Function& f) {
  return std::any_of(f.nodes.begin(), f.nodes.end(), [](const auto& n) { return is_matmul(*n); });
}

bool has_dimension(const Function& f, const std::string& symbol) {
  return std::any_of(f.arguments.begin(), f.arguments.end(), [&](const Value* a) {
    return std::count(a->type.shape.begin(), a->type.shape.end(), Dim::symbol(symbol)) > 0;
  });
}

// Its rows are trees, never one alone.
bool verifies_trees(const Function& f) {
  return std::any_of(f.nodes.begin(), f.nodes.end(),
                     [](const auto& n) { return n->op == "attention" && n->get_bool_or("masked", false); });
}

// The guards of the function's bodies, in order; none: it stays as it is.
std::vector<std::vector<Guard>> guards_for(const Function& f) {
  if (!multiplies(f)) return {};
  if (verifies_trees(f)) return {{{"rows", 2, 16}}, {}};
  for (const char* symbol : {"rows", kWanted}) {
    if (!has_dimension(f, symbol)) continue;
    std::vector<std::vector<Guard>> bodies = {{{symbol, 1, 1}}, {{symbol, 2, 16}}};
    if (symbol != kWanted && has_dimension(f, kWanted)) bodies.push_back({{kWanted, 1, 1}});
    bodies.push_back({});
    return bodies;
  }
  return {};
}

}  // namespace

void specialize_rows(Module& module) {
  std::vector<std::unique_ptr<Function>> bodies;
  for (auto& f : module.functions) {
    bool alone = std::count_if(module.functions.begin(), module.functions.end(),
                               [&](const auto& g) { return g && g->name == f->name; }) == 1;
    const std::vector<std::vector<Guard>> guards = guards_for(*f);
    if (!alone || guards.empty()) {
      bodies.push_back(std::move(f));
      continue;
    }
    for (const std::vector<Guard>& of_body : guards) {
      bodies.push_back(clone(*f));
      bodies.back()->guards = of_body;
    }
  }
  module.functions = std::move(bodies);
}

}  // namespace mlc::graph
