// Runs graph functions on host tensors.
#include "graph/interpret.h"

#include <stdexcept>
#include <unordered_map>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "graph/print.h"

namespace mlc::graph {
namespace {

using Bindings = std::map<std::string, int64_t>;
using Arguments = std::map<std::string, HostTensor>;

std::string shape_text(const HostTensor& t) {
  std::vector<std::string> dims;
  for (int64_t d : t.shape) dims.push_back(std::to_string(d));
  return str(short_name(t.dtype), "[", join(dims, ", "), "]");
}

const HostTensor& find_argument(const Function& f, const Value* argument, const Arguments& arguments) {
  auto it = arguments.find(argument->name);
  if (it == arguments.end()) throw UserError(str(f.name, ": argument %", argument->name, " is missing"));
  const HostTensor& t = it->second;
  if (t.dtype != argument->type.dtype() || t.shape.size() != argument->type.shape.size())
    throw UserError(str(f.name, ": argument %", argument->name, " is ", shape_text(t), ", expected ",
                        argument->type.text()));
  size_t stored = is_float(t.dtype) ? t.floats.size() : t.ints.size();
  internal_check(stored == static_cast<size_t>(t.elements()), "a host tensor's data fits its shape");
  return t;
}

// Symbols that are a dimension by themselves, or in "symbol + constant", take their value from the argument's
// shape.
Bindings bind(const Function& f, const Arguments& arguments) {
  Bindings bound;
  for (const Value* argument : f.arguments) {
    const HostTensor& t = find_argument(f, argument, arguments);
    for (size_t i = 0; i < t.shape.size(); ++i) {
      const Dim& d = argument->type.shape[i];
      if (d.op() == DimOp::kSymbol) bound.emplace(d.name(), t.shape[i]);
      if (d.op() == DimOp::kAdd && d.lhs().op() == DimOp::kSymbol && d.rhs().is_const())
        bound.emplace(d.lhs().name(), t.shape[i] - d.rhs().constant());
    }
  }
  for (const Value* argument : f.arguments) {
    const HostTensor& t = arguments.at(argument->name);
    for (size_t i = 0; i < t.shape.size(); ++i)
      if (argument->type.shape[i].evaluate(bound) != t.shape[i])
        throw UserError(str(f.name, ": argument %", argument->name, " is ", shape_text(t), ", expected ",
                            argument->type.text(), " where dimension ", i, " is ",
                            argument->type.shape[i].evaluate(bound).value_or(-1)));
  }
  return bound;
}

class Run {
 public:
  Run(const Function& function, const Arguments& arguments, const ParameterProvider& parameters,
      std::map<std::string, HostState>& states)
      : function_(function), parameters_(parameters), context_{states}, bound_(bind(function, arguments)) {
    for (const Value* a : function.arguments) values_[a] = &arguments.at(a->name);
    for (size_t i = 0; i < function.nodes.size(); ++i) {
      for (const Value* v : function.nodes[i]->inputs) last_use_[v] = i;
      for (const Value* v : function.nodes[i]->region.operands) last_use_[v] = i;
    }
    for (const Value* v : function.results) last_use_[v] = function.nodes.size();
  }

  std::vector<HostTensor> operator()() {
    for (size_t i = 0; i < function_.nodes.size(); ++i) {
      run_node(*function_.nodes[i]);
      std::erase_if(made_, [&](const auto& entry) {
        auto use = last_use_.find(entry.first);
        return use == last_use_.end() || use->second <= i;
      });
    }
    std::vector<HostTensor> results;
    for (const Value* v : function_.results) results.push_back(*get(v));
    return results;
  }

 private:
  const HostTensor* get(const Value* v) {
    if (v->kind == Value::Kind::kParameter) return &parameters_(v->name);
    if (auto it = made_.find(v); it != made_.end()) return &it->second;
    auto it = values_.find(v);
    internal_check(it != values_.end(), "%", v->name, " has no value");
    return it->second;
  }

  void run_node(const Node& node) {
    const OpInfo* op = find_op(node.op);
    internal_check(op != nullptr, "unknown op ", node.op);
    std::vector<const HostTensor*> inputs, operands;
    for (const Value* v : node.inputs) inputs.push_back(get(v));
    for (const Value* v : node.region.operands) operands.push_back(get(v));
    std::vector<HostTensor> outputs;
    try {
      outputs = op->interpret(node, inputs, operands, context_);
    } catch (const std::invalid_argument& e) {
      throw UserError(str(function_.name, ": ", print(node), ": ", e.what()));
    }
    internal_check(outputs.size() == node.outputs.size(), "an op returns as many values as it has outputs");
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Shape& shape = node.outputs[i]->type.shape;
      for (size_t axis = 0; axis < shape.size(); ++axis)
        internal_check(shape[axis].evaluate(bound_) == outputs[i].shape[axis], "op ", node.op,
                       " returns the shape it inferred");
      made_[node.outputs[i]] = std::move(outputs[i]);
    }
  }

  const Function& function_;
  const ParameterProvider& parameters_;
  InterpretContext context_;
  Bindings bound_;
  std::unordered_map<const Value*, const HostTensor*> values_;
  std::unordered_map<const Value*, HostTensor> made_;
  std::unordered_map<const Value*, size_t> last_use_;
};

}  // namespace

std::map<std::string, HostState> make_states(const Module& module, int64_t pages, int64_t slots) {
  std::map<std::string, HostState> states;
  for (const PagedState& cache : module.states) {
    HostState state{cache, pages, {}};
    state.values.resize(static_cast<size_t>(cache.layers * pages * cache.page_elements()));
    states[cache.name] = std::move(state);
  }
  for (const SlotState& s : module.slot_states) {
    HostState state{.pages = slots, .slots = s};
    state.values.resize(static_cast<size_t>(s.layers * slots * s.slot_elements()));
    states[s.name] = std::move(state);
  }
  return states;
}

const Function& select_body(const Module& module, const std::string& function,
                            const std::map<std::string, int64_t>& symbols) {
  std::vector<std::string> names;
  for (const auto& f : module.functions) {
    const bool serves = std::all_of(f->guards.begin(), f->guards.end(), [&](const Guard& g) {
      auto it = symbols.find(g.symbol);
      return it != symbols.end() && g.holds(it->second);
    });
    if (f->name == function && serves) return *f;
    names.push_back(f->name);
  }
  throw UserError(str(function, ": the module ", module.name, " has no function of this name",
                      did_you_mean(function, names)));
}

std::vector<HostTensor> interpret(const Module& module, const Function& function, const Arguments& arguments,
                                  const ParameterProvider& parameters,
                                  std::map<std::string, HostState>& states) {
  for (const PagedState& cache : module.states)
    internal_check(states.count(cache.name), "state $", cache.name, " is given");
  for (const SlotState& s : module.slot_states)
    internal_check(states.count(s.name), "state $", s.name, " is given");
  return Run(function, arguments, parameters, states)();
}

std::vector<HostTensor> interpret(const Module& module, const std::string& function,
                                  const Arguments& arguments, const ParameterProvider& parameters,
                                  std::map<std::string, HostState>& states) {
  const Function* first = module.find_function(function);
  Bindings bound = first ? bind(*first, arguments) : Bindings{};
  return interpret(module, select_body(module, first ? first->name : function, bound), arguments, parameters,
                   states);
}

}  // namespace mlc::graph
