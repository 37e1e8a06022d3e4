// The graph IR: a model as functions over tensors, in SSA form, with named symbolic dimensions.
//
// Semantics (what every pass and device must keep):
//   * A value is written once. Nodes run in list order; only ops with state (kv_append, attention, ...) have
//     effects, and those happen in list order.
//   * Arithmetic is real arithmetic rounded to the value's dtype; an f32 result may differ between devices by
//     rounding order within the bound of tests/ops. NaN in, NaN out; no op hides one. Integers are exact.
//   * The reference meaning of each op is its `interpret` (graph/ops/): f32 values, f64 accumulation.
//   * A parameter's type is its scheme and physical layout; ops read it as the real matrix it stands for.
//
// Text form (print.h, parse.h), one statement a line; round-trips:
//   module @llama {
//     param @model.norm.weight : f32[576]
//     param @model.layers.0.mlp.down_proj.weight : q4g32.f16@packed[576, 1536]
//     state $kv : paged {layers = 30, kv_heads = 3, key_dim = 64, value_dim = 64, page_size = 16, dtype =
//     f16} func @decode(%x: f32[rows, 576], %limits: i32[rows]) {
//       %0: f32[rows, 576] = rms_norm(%x, @model.norm.weight) {eps = 1e-05}
//       %1: f32[rows, 1536] = matmul(%0, @w) region(silu(gate + @b[0]) * up + %r)
//       kv_append($kv, %k, %v, %row_slots) {layer = 0}
//       return %1
//     }
//   }
// A paged state may say `window = 4096` and `latent = true`. A guarded body says `func @decode(...)
// rows 2..16 {`; an open end is left out: `rows 17.., wanted 1..1 {`. Another name of a function is `func
// @batch_decode = @decode`. Attributes: true, 30, 1e-05 (a double always has a point, an exponent, inf or
// nan), "silu". Names: letters, digits,
// '_', '.', '-', '/'.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/dim.h"
#include "base/dtype.h"
#include "formats/quant/scheme.h"
#include "graph/layouts.h"
#include "graph/region.h"

namespace mlc::graph {

using Shape = std::vector<Dim>;

struct TensorType {
  enum class Kind : uint8_t {
    kPlain,  // elements of format.dtype
    kGroup,  // a group-quantized parameter [N, K] (or [K] never)
    // q8g32 and q8g40, for weights of 4 and 3 bits: per group along the last axis its i8 codes, an f32 scale,
    // an i32 start =
    // -(the weights' zero point) * sum of codes
    kQ8Activation,
  };
  Kind kind = Kind::kPlain;
  WeightFormat format;  // kPlain: format.dtype is the element type; kQ8Activation: bits and group are those
                        // of the weights
  // Physical layout, a name of graph/layouts.h: of parameters as the choose_layouts pass says.
  std::string layout = kPackedLayout;
  Shape shape;

  static TensorType plain(DType dtype, Shape shape) {
    return {Kind::kPlain, WeightFormat::plain(dtype), kPackedLayout, std::move(shape)};
  }
  // The activations that meet weights of a format.
  static TensorType q8(Shape shape,
                       const WeightFormat& weights = {WeightFormat::Kind::kGroup, DType::kF16, 4, 32}) {
    WeightFormat codes{WeightFormat::Kind::kPlain, DType::kI8, weights.bits, weights.kernel_group()};
    return {Kind::kQ8Activation, codes, kPackedLayout, std::move(shape)};
  }
  // By the name that element_text() gives; nullopt for any other name.
  static std::optional<TensorType> find_q8(std::string_view name, Shape shape);
  static TensorType tiles(Shape shape);  // activations of bf16 as a matrix unit loads them
  DType dtype() const { return format.dtype; }
  bool is_tiled() const;
  // Elements of a kPlain tensor in memory, with the padding of its layout.
  Dim elements() const;
  // Bytes of an activation or a plain parameter. kPlain: elements() * size; kQ8Activation: per row
  // ceildiv(K, group) * (group codes + 4 + 4). Internal error for kGroup: kernel/lower/lower.h knows the
  // sizes of its layouts.
  Dim bytes() const;
  std::string element_text() const;  // "f32", "q4g32.f16", "q8g32"
  // A packed plain tensor leaves its layout out: "f32@tile8[64, 32]" but "f32[64, 32]".
  std::string text() const;  // "f32[rows, 576]", "q4g32.f16@tile8[576, 1536]", "q8g32[rows, 576]"
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

// An op's constants: head counts, eps, layer index, ...
using Attribute = std::variant<bool, int64_t, double, std::string>;
using Attributes = std::map<std::string, Attribute>;

struct Node;

struct Value {
  enum class Kind : uint8_t { kParameter, kArgument, kResult };
  Kind kind = Kind::kResult;
  std::string name;  // "model.norm.weight", "x", "0": unique in its function (parameters: in the module)
  TensorType type;
  Node* producer = nullptr;  // kResult only
};

// Parameters of these endings are stacks of adapters' matrices: no weights folder has them, the runtime fills
// them while a model is loaded (ops/lora.cpp).
inline constexpr char kLoraA[] = ".lora_A", kLoraB[] = ".lora_B";
bool is_lora_stack(const Value& parameter);

struct Node {
  std::string op;  // a name of ops/registry.h
  std::vector<Value*> inputs;
  std::string state;  // name of the module's state it reads or writes, or ""
  Attributes attributes;
  Region region;                // of ops that carry one: what becomes of each element before it is stored
  std::vector<Value*> outputs;  // owned by the function

  int64_t get_int(const std::string& name) const;  // internal error when absent
  double get_double(const std::string& name) const;
  std::string get_string(const std::string& name) const;
  int64_t get_int_or(const std::string& name, int64_t fallback) const;
  bool get_bool_or(const std::string& name, bool fallback) const;
  std::string get_string_or(const std::string& name, const std::string& fallback) const;
};

// What a module keeps between steps, of all its sequences. Layers that differ in anything are layers of
// different states; a node's `layer` counts within its state.
//
// Paged: `layers` x pages of `page_size` tokens; one page of one layer holds K
// [kv_heads][page_size][key_dim], then V [kv_heads][page_size][value_dim], in `dtype`: f32, f16, bf16, or i8,
// which means codes with a scale for each head of each token, made as quantize_q8 makes those of a group.
// Latent: a value is the first value_dim elements of its key, and V is not stored. A page id is the same page
// in every layer of all states of one window.
struct PagedState {
  std::string name;
  int64_t layers = 0, kv_heads = 0, key_dim = 0, value_dim = 0, page_size = 16;
  DType dtype = DType::kF32;
  int64_t window = 0;  // the last tokens of a sequence that are retained; 0 = all
  bool latent = false;

  // Keys and values of one width, all tokens retained.
  static PagedState of_heads(std::string name, int64_t layers, int64_t kv_heads, int64_t head_dim,
                             int64_t page_size, DType dtype) {
    return {std::move(name), layers, kv_heads, head_dim, head_dim, page_size, dtype};
  }
  int64_t page_elements() const {  // of one layer
    return kv_heads * page_size * (key_dim + (latent ? 0 : value_dim));
  }
};

// Slots: what a sequence is to a recurrence, of one size however long its text is. One slot of one layer
// holds the parts one after the other, f32; zeros are the empty text. The buffer: [layer][slot][parts].
struct SlotPart {
  std::string name;
  int64_t elements = 0;
};
struct SlotState {
  std::string name;
  int64_t layers = 0;
  std::vector<SlotPart> parts;
  int64_t slot_elements() const;                                 // of one layer
  std::optional<int64_t> offset(const std::string& part) const;  // of its first element in a slot
};

// The values of a symbol that a body serves: min..max; max 0 = no bound.
struct Guard {
  std::string symbol;
  int64_t min = 0, max = 0;
  bool holds(int64_t value) const { return value >= min && (max == 0 || value <= max); }
};

struct Function {
  std::string name;
  std::string same_as;  // an earlier function that this is another name of; then all below is empty
  std::vector<Value*> arguments;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Value*> results;
  std::vector<std::unique_ptr<Value>> values;  // owns arguments and node outputs
  std::vector<Guard> guards;  // this body serves calls for which all hold; set by the specialize_rows pass

  Value* add_argument(std::string name, TensorType type);
  Value* add_value(TensorType type, Node* producer);  // named with the next free number
  // What the guards say of a dimension: of a constant that it is one, of anything else without a guard
  // nothing.
  Guard guard_of(const Dim& dim) const;
};

struct Module {
  std::string name;  // model type
  std::vector<std::unique_ptr<Value>> parameters;
  std::vector<PagedState> states;
  std::vector<SlotState> slot_states;
  std::vector<std::unique_ptr<Function>> functions;

  Value* find_parameter(const std::string& name) const;  // nullptr when absent
  Function* find_function(
      const std::string& name) const;  // the one that does the work, whichever of its names is given
  const PagedState* find_state(const std::string& name) const;
  const SlotState* find_slot_state(const std::string& name) const;
  // Which block table a paged state has: states of one window share theirs, numbered as they first appear.
  int64_t group_of(const PagedState& state) const;
};

// Deep copy of a function inside its module (parameters are shared).
std::unique_ptr<Function> clone(const Function& function);

}  // namespace mlc::graph
