// Checks that op families share when they infer types: each throws std::invalid_argument with what is wrong.
#pragma once

#include <stdexcept>
#include <string>

#include "base/strings.h"
#include "graph/ir.h"

namespace mlc::graph {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::invalid_argument(str(parts...));
}

// "operand 1 (f32[rows, 4])".
std::string describe(const Node& node, size_t operand);

// Operand i as f32 activation [rows, columns]; columns are a constant.
const TensorType& activation_operand(const Node& node, size_t i);
int64_t columns(const TensorType& type);
// Operand i as a plain float vector [n] (f32, f16 or bf16).
void check_float_vector(const Node& node, size_t i, const Dim& n);
// Operand i as i32 [n]; returns n.
const Dim& index_operand(const Node& node, size_t i);
void check_equal_rows(const Node& node, size_t i, const Dim& rows);

// Attributes of the right kind and range.
int64_t int_attribute(const Node& node, const std::string& name, int64_t min, int64_t max);
double positive_attribute(const Node& node, const std::string& name);
bool bool_attribute_or(const Node& node, const std::string& name, bool fallback);
std::string string_attribute(const Node& node, const std::string& name);
// Quantized activations of the shape: those that attribute "output" names, or q8g32 without it.
TensorType q8_attribute(const Node& node, const Shape& shape);
// A name of find_function(); otherwise refuses with the nearest.
void check_function(const std::string& function);

// The node's cache; checks that `layer` lies in it when the node has that attribute.
const PagedState& cache_operand(const Node& node, const Module& module);
// The node's slots, likewise.
const SlotState& slots_operand(const Node& node, const Module& module);

}  // namespace mlc::graph
