// Checks the invariants of the graph IR.
#include "graph/verify.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/strings.h"
#include "base/threads.h"
#include "graph/ops/check.h"
#include "graph/ops/registry.h"
#include "graph/print.h"

namespace mlc::graph {
namespace {

constexpr int64_t kMaxExtent = 1 << 15;  // of each axis of a cache: the product of all four fits into int64

class FunctionVerifier {
 public:
  FunctionVerifier(const Module& module, const std::unordered_set<const Value*>& parameters,
                   const Function& function)
      : module_(module), parameters_(parameters), function_(function) {
    defined_.reserve(function.values.size());
    for (const auto& v : function.values) defined_.emplace(v.get(), false);
  }

  void run() {
    check_names();
    check_arguments();
    for (const auto& node : function_.nodes) check_node(*node);
    for (const Value* r : function_.results) {
      if (parameters_.count(r)) refuse("returns parameter @", r->name);
      check_defined(r);
    }
    if (count_ != defined_.size()) refuse("owns ", defined_.size(), " values but defines ", count_);
  }

 private:
  void check_names() {
    std::unordered_set<std::string_view> names;
    names.reserve(function_.values.size());
    for (const auto& v : function_.values)
      if (!names.insert(v->name).second) refuse("value %", v->name, " exists twice");
  }

  void check_arguments() {
    for (const Value* v : function_.arguments) {
      if (v->kind != Value::Kind::kArgument || v->producer) refuse("argument %", v->name, " is no argument");
      if (v->type.kind == TensorType::Kind::kGroup) refuse("argument %", v->name, " has a parameter's type");
      define(v);
      for (const Dim& d : v->type.shape) bind(d);
    }
    for (const Value* v : function_.arguments) check_symbols(v->type);
  }

  void bind(const Dim& d) {
    if (d.op() == DimOp::kSymbol) symbols_.insert(d.name());
    if (d.op() == DimOp::kAdd && d.lhs().op() == DimOp::kSymbol && d.rhs().is_const())
      symbols_.insert(d.lhs().name());
  }

  void check_symbols(const TensorType& type) {
    for (const Dim& d : type.shape) {
      if (d.is_const() && d.constant() < 0) refuse("type ", type.text(), " has a negative dimension");
      for (const std::string& name : d.symbols())
        if (!symbols_.count(name))
          refuse("dimension '", name, "' of ", type.text(), " is bound by no argument");
    }
  }

  void define(const Value* v) {
    auto owned = defined_.find(v);
    if (owned == defined_.end()) refuse("value %", v->name, " is owned by another function");
    if (owned->second) refuse("value %", v->name, " is defined twice");
    owned->second = true;
    ++count_;
  }
  void check_defined(const Value* v) {
    if (!v) refuse("an operand is null");
    if (auto owned = defined_.find(v); owned != defined_.end() ? owned->second : parameters_.count(v) > 0)
      return;
    refuse("uses ", v->name, " before its definition");
  }

  void check_node(const Node& node) {
    try {
      for (const Value* v : node.inputs) check_defined(v);
      for (const Value* v : node.region.operands) check_defined(v);
      std::vector<TensorType> types = infer_types(node, module_);
      if (types.size() != node.outputs.size())
        refuse(node.outputs.size(), " results, expected ", types.size());
      for (size_t i = 0; i < types.size(); ++i) {
        const Value* out = node.outputs[i];
        if (out->kind != Value::Kind::kResult || out->producer != &node)
          refuse("%", out->name, " has another producer");
        if (out->type != types[i])
          refuse("%", out->name, " is ", out->type.text(), ", expected ", types[i].text());
        check_symbols(out->type);
        define(out);
      }
    } catch (const std::invalid_argument& e) {
      refuse("'", print(node), "': ", e.what());
    }
  }

  const Module& module_;
  const std::unordered_set<const Value*>& parameters_;
  const Function& function_;
  std::unordered_map<const Value*, bool> defined_;  // of each value that the function owns
  size_t count_ = 0;                                // of those that are
  std::set<std::string> symbols_;
};

bool same_signature(const Function& a, const Function& b) {
  auto equal = [](const Value* x, const Value* y) { return x->name == y->name && x->type == y->type; };
  auto same_type = [](const Value* x, const Value* y) { return x->type == y->type; };
  return std::equal(a.arguments.begin(), a.arguments.end(), b.arguments.begin(), b.arguments.end(), equal) &&
         std::equal(a.results.begin(), a.results.end(), b.results.begin(), b.results.end(), same_type);
}

void check_states(const Module& module) {
  std::set<std::string> names;
  for (const PagedState& s : module.states) {
    if (!names.insert(s.name).second) refuse("state $", s.name, " exists twice");
    for (int64_t extent : {s.layers, s.kv_heads, s.key_dim, s.value_dim, s.page_size})
      if (extent < 1 || extent > kMaxExtent)
        refuse("state $", s.name, " has an axis of ", extent, ", expected 1 to ", kMaxExtent);
    if (s.window < 0) refuse("state $", s.name, " retains ", s.window, " tokens");
    if (s.latent && s.value_dim >= s.key_dim)
      refuse("state $", s.name, " has values of ", s.value_dim, " that begin a key of ", s.key_dim);
    if (s.dtype != DType::kF32 && s.dtype != DType::kF16 && s.dtype != DType::kBF16 && s.dtype != DType::kI8)
      refuse("state $", s.name, " holds ", short_name(s.dtype), ", expected f32, f16, bf16 or i8");
    if (s.dtype == DType::kI8 && (s.latent || s.value_dim != s.key_dim))
      refuse("state $", s.name, " holds codes of keys and values that differ in width");
  }
  for (const SlotState& s : module.slot_states) {
    if (!names.insert(s.name).second) refuse("state $", s.name, " exists twice");
    if (s.layers < 1 || s.parts.empty()) refuse("state $", s.name, " has no layers or no parts");
    std::set<std::string> parts;
    for (const SlotPart& part : s.parts)
      if (part.elements < 1 || part.elements > kMaxExtent || !parts.insert(part.name).second)
        refuse("state $", s.name, " has part ", part.name, " of ", part.elements, " elements or twice");
  }
}

void check_parameters(const Module& module) {
  std::set<std::string> names;
  for (const auto& p : module.parameters) {
    if (!names.insert(p->name).second) refuse("parameter @", p->name, " exists twice");
    if (p->kind != Value::Kind::kParameter || p->producer) refuse("parameter @", p->name, " is no parameter");
    for (const Dim& d : p->type.shape)
      if (!d.is_const() || d.constant() < 1) refuse("parameter @", p->name, " has shape ", p->type.text());
  }
}

void check_other_name(const Module& module, size_t index) {
  const Function& f = *module.functions[index];
  bool known = false;
  for (size_t i = 0; i < index; ++i)
    known = known || (module.functions[i]->name == f.same_as && module.functions[i]->same_as.empty());
  if (!known)
    refuse("function ", f.name, " is to be the same as ", f.same_as, ", which is no function before it");
  if (!f.values.empty() || !f.nodes.empty() || !f.results.empty())
    refuse("function ", f.name, " is the same as ", f.same_as, " and has a body of its own");
}

void check_guards(const Function& f) {
  for (const Guard& g : f.guards) {
    if (g.min < 0 || g.max < 0 || (g.max && g.max < g.min) || (g.min == 0 && g.max == 0))
      refuse("function ", f.name, " serves ", g.symbol, " ", g.min, "..", g.max);
    if (std::count_if(f.guards.begin(), f.guards.end(),
                      [&](const Guard& h) { return h.symbol == g.symbol; }) > 1)
      refuse("function ", f.name, " has two guards for ", g.symbol);
    if (std::none_of(f.arguments.begin(), f.arguments.end(), [&](const Value* a) {
          return std::count(a->type.shape.begin(), a->type.shape.end(), Dim::symbol(g.symbol)) > 0;
        }))
      refuse("function ", f.name, ": no argument has the guard's dimension ", g.symbol);
  }
}

// Whether every call that `b` serves is served by `a`.
bool covers(const Function& a, const Function& b) {
  return std::all_of(a.guards.begin(), a.guards.end(), [&](const Guard& g) {
    const Guard of_b = b.guard_of(Dim::symbol(g.symbol));
    return g.min <= of_b.min && (g.max == 0 || (of_b.max != 0 && of_b.max <= g.max));
  });
}

// Bodies of one function follow each other; the first whose guards hold runs, the last has none.
void check_bodies(const Module& module) {
  std::set<std::string> closed;
  for (size_t i = 0; i < module.functions.size(); ++i) {
    const Function& f = *module.functions[i];
    bool last = i + 1 == module.functions.size() || module.functions[i + 1]->name != f.name;
    if (closed.count(f.name)) refuse("function ", f.name, " exists twice");
    if (!f.same_as.empty()) check_other_name(module, i);
    check_guards(f);
    if (last) {
      if (!f.guards.empty()) refuse("function ", f.name, ": the last body is guarded");
      closed.insert(f.name);
      continue;
    }
    const Function& next = *module.functions[i + 1];
    if (f.guards.empty()) refuse("function ", f.name, ": a body that serves all calls is not the last");
    if (covers(f, next)) refuse("function ", f.name, ": a body never runs");
    if (!same_signature(f, next)) refuse("function ", f.name, ": bodies differ in arguments or results");
  }
}

}  // namespace

std::string verify(const Module& module) {
  try {
    check_parameters(module);
    check_states(module);
    check_bodies(module);
  } catch (const std::invalid_argument& e) {
    return str("module ", module.name, ": ", e.what());
  }
  std::unordered_set<const Value*> parameters;
  for (const auto& p : module.parameters) parameters.insert(p.get());
  std::vector<std::string> problems(module.functions.size());
  parallel_for(usable_threads(), static_cast<int64_t>(problems.size()), [&](int64_t i) {
    const Function& f = *module.functions[static_cast<size_t>(i)];
    try {
      if (f.same_as.empty()) FunctionVerifier(module, parameters, f).run();
    } catch (const std::invalid_argument& e) {
      problems[static_cast<size_t>(i)] = str("function ", f.name, ": ", e.what());
    }
  });
  auto first =
      std::find_if(problems.begin(), problems.end(), [](const std::string& p) { return !p.empty(); });
  return first == problems.end() ? "" : *first;
}

void check_valid(const Module& module, const std::string& where) {
  std::string problem = verify(module);
  internal_check(problem.empty(), where, ": ", problem);
}

}  // namespace mlc::graph
