// Types, values and functions of the graph IR.
#include "graph/ir.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::graph {
namespace {

template <typename T>
const T& attribute(const Node& node, const std::string& name) {
  auto it = node.attributes.find(name);
  if (it == node.attributes.end()) internal_error(str("op ", node.op, " has no attribute '", name, "'"));
  const T* value = std::get_if<T>(&it->second);
  if (!value) internal_error(str("op ", node.op, ": attribute '", name, "' is of another type"));
  return *value;
}

}  // namespace

bool is_lora_stack(const Value& parameter) {
  return parameter.name.ends_with(kLoraA) || parameter.name.ends_with(kLoraB);
}

TensorType TensorType::tiles(Shape shape) {
  return {Kind::kPlain, WeightFormat::plain(DType::kBF16), kTileLayout, std::move(shape)};
}

bool TensorType::is_tiled() const { return layout == kTileLayout; }

Dim TensorType::elements() const {
  internal_check(kind == Kind::kPlain, "elements() of a quantized tensor");
  constexpr int64_t kRows = 2 * kTileRows;
  if (is_tiled()) return ceildiv(shape[0], kRows) * kRows * (ceildiv(shape[1], kTileColumns) * kTileColumns);
  Dim total(1);
  for (const Dim& d : shape) total = total * d;
  return total;
}

Dim TensorType::bytes() const {
  internal_check(kind != Kind::kGroup, "bytes() of a group-quantized parameter");
  if (kind == Kind::kPlain) return elements() * size_of(dtype());
  Dim total = ceildiv(shape.back(), format.group) * (format.group + 8);
  for (size_t i = 0; i + 1 < shape.size(); ++i) total = total * shape[i];
  return total;
}

std::optional<TensorType> TensorType::find_q8(std::string_view name, Shape shape) {
  for (const QuantScheme& scheme : quant_schemes()) {
    if (!scheme.quantized) continue;
    TensorType type = q8(shape, scheme.linear);
    if (type.element_text() == name) return type;
  }
  return std::nullopt;
}

std::string TensorType::element_text() const {
  return kind == Kind::kQ8Activation ? str("q8g", format.group) : format.text();
}

std::string TensorType::text() const {
  std::string out = element_text();
  if (kind == Kind::kGroup || layout != kPackedLayout) out += "@" + layout;
  std::vector<std::string> dims;
  for (const Dim& d : shape) dims.push_back(d.text());
  return out + "[" + join(dims, ", ") + "]";
}

int64_t Node::get_int(const std::string& name) const { return attribute<int64_t>(*this, name); }
double Node::get_double(const std::string& name) const { return attribute<double>(*this, name); }
std::string Node::get_string(const std::string& name) const { return attribute<std::string>(*this, name); }
bool Node::get_bool_or(const std::string& name, bool fallback) const {
  return attributes.count(name) ? attribute<bool>(*this, name) : fallback;
}
int64_t Node::get_int_or(const std::string& name, int64_t fallback) const {
  return attributes.count(name) ? get_int(name) : fallback;
}
std::string Node::get_string_or(const std::string& name, const std::string& fallback) const {
  return attributes.count(name) ? get_string(name) : fallback;
}

Value* Function::add_argument(std::string name, TensorType type) {
  values.push_back(
      std::make_unique<Value>(Value{Value::Kind::kArgument, std::move(name), std::move(type), nullptr}));
  arguments.push_back(values.back().get());
  return values.back().get();
}

Value* Function::add_value(TensorType type, Node* producer) {
  auto taken = [&](const std::string& name) {
    return std::any_of(values.begin(), values.end(), [&](const auto& v) { return v->name == name; });
  };
  size_t number = static_cast<size_t>(std::count_if(
      values.begin(), values.end(), [](const auto& v) { return v->kind == Value::Kind::kResult; }));
  while (taken(std::to_string(number))) ++number;
  values.push_back(std::make_unique<Value>(
      Value{Value::Kind::kResult, std::to_string(number), std::move(type), producer}));
  return values.back().get();
}

Value* Module::find_parameter(const std::string& name) const {
  for (const auto& p : parameters)
    if (p->name == name) return p.get();
  return nullptr;
}

Function* Module::find_function(const std::string& name) const {
  for (const auto& f : functions)
    if (f->name == name) return f->same_as.empty() ? f.get() : find_function(f->same_as);
  return nullptr;
}

const PagedState* Module::find_state(const std::string& name) const {
  for (const PagedState& s : states)
    if (s.name == name) return &s;
  return nullptr;
}

const SlotState* Module::find_slot_state(const std::string& name) const {
  for (const SlotState& s : slot_states)
    if (s.name == name) return &s;
  return nullptr;
}

int64_t Module::group_of(const PagedState& state) const {
  std::vector<int64_t> windows;
  for (const PagedState& s : states)
    if (std::find(windows.begin(), windows.end(), s.window) == windows.end()) windows.push_back(s.window);
  return std::find(windows.begin(), windows.end(), state.window) - windows.begin();
}

int64_t SlotState::slot_elements() const {
  int64_t total = 0;
  for (const SlotPart& part : parts) total += part.elements;
  return total;
}

std::optional<int64_t> SlotState::offset(const std::string& part) const {
  int64_t at = 0;
  for (const SlotPart& p : parts) {
    if (p.name == part) return at;
    at += p.elements;
  }
  return std::nullopt;
}

Guard Function::guard_of(const Dim& dim) const {
  if (dim.is_const()) return {"", dim.constant(), dim.constant()};
  for (const Guard& g : guards)
    if (dim == Dim::symbol(g.symbol)) return g;
  return {};
}

std::unique_ptr<Function> clone(const Function& function) {
  auto copy = std::make_unique<Function>();
  copy->name = function.name;
  copy->same_as = function.same_as;
  copy->guards = function.guards;
  std::unordered_map<const Value*, Value*> values;
  for (const auto& v : function.values) {
    copy->values.push_back(std::make_unique<Value>(*v));
    values[v.get()] = copy->values.back().get();
  }
  auto mapped = [&](Value* v) {
    auto it = values.find(v);
    return it == values.end() ? v : it->second;  // parameters are shared
  };
  auto map_all = [&](std::vector<Value*>& list) {
    for (Value*& v : list) v = mapped(v);
  };
  copy->arguments = function.arguments;
  copy->results = function.results;
  map_all(copy->arguments);
  map_all(copy->results);
  for (const auto& n : function.nodes) {
    copy->nodes.push_back(std::make_unique<Node>(*n));
    Node& node = *copy->nodes.back();
    map_all(node.inputs);
    map_all(node.outputs);
    map_all(node.region.operands);
    for (Value* out : node.outputs) out->producer = &node;
  }
  return copy;
}

}  // namespace mlc::graph
