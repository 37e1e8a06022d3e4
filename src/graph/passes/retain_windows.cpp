// Divides paged states by what their layers retain.
#include "graph/passes/retain_windows.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "formats/plan.h"

namespace mlc::graph {
namespace {

// Where a layer of a state goes.
struct Place {
  std::string state;
  int64_t layer = 0;
};
using Places = std::map<std::string, std::vector<Place>>;  // by state, by layer

// The window of each layer of a state; empty: none has one, or tokens are dropped.
std::vector<int64_t> windows_of(const Module& module, const PagedState& state) {
  std::vector<int64_t> windows(static_cast<size_t>(state.layers), 0);
  for (const auto& f : module.functions)
    for (const auto& node : f->nodes) {
      if (node->op != "attention" || node->state != state.name) continue;
      if (node->inputs.size() > 5) return {};  // skip_begin
      windows[static_cast<size_t>(node->get_int("layer"))] = node->get_int_or("window", 0);
    }
  const bool any = std::any_of(windows.begin(), windows.end(), [](int64_t w) { return w > 0; });
  return any ? windows : std::vector<int64_t>{};
}

// Adds the parts of a state to `states` and the places of its layers to `places`.
void divide(const PagedState& state, const std::vector<int64_t>& windows, std::vector<PagedState>& states,
            std::vector<Place>& places) {
  const std::set<int64_t> kinds(windows.begin(), windows.end());
  std::map<int64_t, PagedState*> parts;
  states.reserve(states.size() + kinds.size());
  for (int64_t window : kinds) {  // 0, all tokens, first
    PagedState& part = states.emplace_back(state);
    parts[window] = &part;
    part.layers = 0;
    part.window = window;
    if (window != *kinds.begin()) part.name += kinds.size() == 2 ? "_window" : str("_window_", window);
  }
  for (int64_t window : windows) places.push_back({parts[window]->name, parts[window]->layers++});
}

Value* argument_of_group(Function& f, const Value& argument, int64_t group) {
  const std::string name = of_group(argument.name, group);
  for (Value* known : f.arguments)
    if (known->name == name) return known;
  TensorType type = argument.type;
  if (argument.name == "page_ids") type.shape = {Dim::symbol(of_group("pages", group))};
  return f.add_argument(name, type);
}

void move_layers(Module& module, Function& f, const Places& places) {
  for (auto& node : f.nodes) {
    const auto layers = places.find(node->state);
    if (layers == places.end() || !node->attributes.contains("layer")) continue;
    const Place& place = layers->second[static_cast<size_t>(node->get_int("layer"))];
    node->state = place.state;
    node->attributes["layer"] = place.layer;
    const int64_t group = module.group_of(*module.find_state(place.state));
    for (Value*& input : node->inputs)
      for (const char* name : {"row_slots", "page_indptr", "page_ids"})
        if (group > 0 && input->kind == Value::Kind::kArgument && input->name == name)
          input = argument_of_group(f, *input, group);
  }
}

// A function that copies pages of all states of a group, like one that copied those of all states.
std::unique_ptr<Function> copy_of_group(const Module& module, const Function& copy, int64_t group) {
  std::unique_ptr<Function> f = clone(copy);
  f->name = of_group(copy.name, group);
  const Node node = *f->nodes[0];
  f->nodes.clear();
  for (const PagedState& state : module.states)
    if (module.group_of(state) == group) {
      f->nodes.push_back(std::make_unique<Node>(node));
      f->nodes.back()->state = state.name;
    }
  return f;
}

}  // namespace

void retain_windows(Module& module) {
  std::vector<PagedState> states;
  Places places;
  for (const PagedState& state : module.states)
    if (const std::vector<int64_t> windows = windows_of(module, state); !windows.empty())
      divide(state, windows, states, places[state.name]);
    else
      states.push_back(state);
  if (places.empty()) return;
  module.states = std::move(states);
  for (const auto& f : module.functions) move_layers(module, *f, places);
  int64_t groups = 0;
  for (const PagedState& state : module.states) groups = std::max(groups, module.group_of(state) + 1);
  const auto copy = std::find_if(module.functions.begin(), module.functions.end(), [](const auto& f) {
    return !f->nodes.empty() && f->nodes[0]->op == "copy_pages";
  });
  if (copy == module.functions.end()) return;
  std::vector<std::unique_ptr<Function>> copies;
  for (int64_t group = 0; group < groups; ++group) copies.push_back(copy_of_group(module, **copy, group));
  const auto after = module.functions.erase(copy);
  module.functions.insert(after, std::make_move_iterator(copies.begin()),
                          std::make_move_iterator(copies.end()));
}

}  // namespace mlc::graph
