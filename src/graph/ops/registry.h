// The table of graph ops: for each, its arity, its shape rule and its reference meaning. An op is one row,
// defined in the file of its family (ops/elementwise.cpp, ops/matmul.cpp, ops/norm.cpp, ops/rope.cpp,
// ops/attention.cpp, ...).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace mlc::graph {

// A tensor on the host while interpreting; shape is concrete, C order.
//   float dtypes: `floats` (dequantized parameters included);   integer dtypes: `ints`
//   q8g32: dtype kI8, `ints` the codes [rows, K], `floats` the scales [rows, ceildiv(K, 32)]
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int32_t> ints;
  int64_t elements() const;
};

// The contents of a state while interpreting. Paged: [layer][page][page_elements] values, rounded to the
// cache's dtype. Slots: [layer][slot][slot_elements].
struct HostState {
  PagedState cache;   // of a paged state
  int64_t pages = 0;  // or slots
  std::vector<float> values;
  SlotState slots = {};  // of a slot state
};

struct InterpretContext {
  std::map<std::string, HostState>& states;
};

struct OpInfo {
  std::string name;
  int min_inputs = 0, max_inputs = 0;
  bool has_state = false;                 // reads or writes the state it names
  bool writes_state = false;              // has an effect: never removed, merged or reordered
  RegionKind region = RegionKind::kNone;  // that it may carry (graph/region.h)
  std::vector<std::string> required_attributes;
  // Types of the outputs, or throws std::invalid_argument with what is wrong ("operand 1 has 3 columns,
  // expected 4").
  std::function<std::vector<TensorType>(const Node&, const Module&)> infer;
  // inputs in node order, then the operands of its region. Returns the outputs; throws std::invalid_argument
  // when an index lies outside of its table, its pages or its sequence.
  std::function<std::vector<HostTensor>(const Node&, const std::vector<const HostTensor*>& inputs,
                                        const std::vector<const HostTensor*>& region, InterpretContext&)>
      interpret;
};

// Whether operand 0 is multiplied by the weight that is operand 1: ops that take an epilogue and quantized
// activations.
bool is_matmul(const Node& node);

// nullptr when unknown.
const OpInfo* find_op(const std::string& name);
std::vector<std::string> op_names();  // sorted
// Checks name, arity, state and attributes, then infers; throws std::invalid_argument.
std::vector<TensorType> infer_types(const Node& node, const Module& module);

// The rows of each family, gathered by find_op.
std::vector<OpInfo> elementwise_ops();
std::vector<OpInfo> matmul_ops();
std::vector<OpInfo> norm_ops();
std::vector<OpInfo> quantize_ops();
std::vector<OpInfo> rope_ops();
std::vector<OpInfo> take_ops();
std::vector<OpInfo> attention_ops();
std::vector<OpInfo> cache_ops();
std::vector<OpInfo> sample_ops();
std::vector<OpInfo> expert_ops();
std::vector<OpInfo> recurrence_ops();
std::vector<OpInfo> lora_ops();

}  // namespace mlc::graph
