// Operand and attribute checks shared by the op families.
#include "graph/ops/check.h"

#include <algorithm>

#include "graph/ops/math.h"

namespace mlc::graph {

std::string describe(const Node& node, size_t operand) {
  return str("operand ", operand, " (", node.inputs[operand]->type.text(), ")");
}

const TensorType& activation_operand(const Node& node, size_t i) {
  const TensorType& type = node.inputs[i]->type;
  if (type.kind != TensorType::Kind::kPlain || type.dtype() != DType::kF32 || type.shape.size() != 2 ||
      !type.shape[1].is_const())
    refuse(describe(node, i), " is no f32[rows, columns] with constant columns");
  return type;
}

int64_t columns(const TensorType& type) { return type.shape[1].constant(); }

void check_float_vector(const Node& node, size_t i, const Dim& n) {
  const TensorType& type = node.inputs[i]->type;
  if (type.kind != TensorType::Kind::kPlain || !is_float(type.dtype()) || type.shape != Shape{n})
    refuse(describe(node, i), " is no float vector of ", n.text(), " elements");
}

const Dim& index_operand(const Node& node, size_t i) {
  const TensorType& type = node.inputs[i]->type;
  if (type.kind != TensorType::Kind::kPlain || type.dtype() != DType::kI32 || type.shape.size() != 1)
    refuse(describe(node, i), " is no i32 vector");
  return type.shape[0];
}

void check_equal_rows(const Node& node, size_t i, const Dim& rows) {
  if (node.inputs[i]->type.shape[0] != rows)
    refuse(describe(node, i), " does not have ", rows.text(), " rows");
}

namespace {

const Attribute& present(const Node& node, const std::string& name) {
  auto it = node.attributes.find(name);
  if (it == node.attributes.end()) refuse("attribute '", name, "' is missing");
  return it->second;
}

}  // namespace

int64_t int_attribute(const Node& node, const std::string& name, int64_t min, int64_t max) {
  const int64_t* value = std::get_if<int64_t>(&present(node, name));
  if (!value) refuse("attribute '", name, "' is no integer");
  if (*value < min || *value > max)
    refuse("attribute '", name, "' is ", *value, ", expected ", min, " to ", max);
  return *value;
}

double positive_attribute(const Node& node, const std::string& name) {
  const double* value = std::get_if<double>(&present(node, name));
  if (!value) refuse("attribute '", name, "' is no real number");
  if (!(*value > 0) || *value > 1e300)
    refuse("attribute '", name, "' is ", *value, ", expected a positive number");
  return *value;
}

bool bool_attribute_or(const Node& node, const std::string& name, bool fallback) {
  if (!node.attributes.count(name)) return fallback;
  const bool* value = std::get_if<bool>(&present(node, name));
  if (!value) refuse("attribute '", name, "' is neither true nor false");
  return *value;
}

std::string string_attribute(const Node& node, const std::string& name) {
  const std::string* value = std::get_if<std::string>(&present(node, name));
  if (!value) refuse("attribute '", name, "' is no string");
  return *value;
}

TensorType q8_attribute(const Node& node, const Shape& shape) {
  if (!node.attributes.count("output")) return TensorType::q8(shape);
  std::string name = string_attribute(node, "output");
  std::optional<TensorType> type = TensorType::find_q8(name, shape);
  if (!type) refuse("attribute 'output' is '", name, "', expected q8g16, q8g32 or q8g40");
  return *type;
}

void check_function(const std::string& function) {
  const std::vector<std::string>& names = function_names();
  if (std::find(names.begin(), names.end(), function) == names.end())
    refuse("unknown function '", function, "', expected one of ", join(names, ", "),
           did_you_mean(function, names));
}

const PagedState& cache_operand(const Node& node, const Module& module) {
  const PagedState* cache = module.find_state(node.state);
  if (!cache) refuse("the module has no state $", node.state);
  if (node.attributes.count("layer")) int_attribute(node, "layer", 0, cache->layers - 1);
  return *cache;
}

const SlotState& slots_operand(const Node& node, const Module& module) {
  const SlotState* slots = module.find_slot_state(node.state);
  if (!slots) refuse("the module has no slots $", node.state);
  if (node.attributes.count("layer")) int_attribute(node, "layer", 0, slots->layers - 1);
  return *slots;
}

}  // namespace mlc::graph
