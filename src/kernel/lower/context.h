// What the lowerings for CPUs and for GPUs share: the node, its operands in memory, and how a kernel goes
// through the rows of a matrix.
//
// A lowering that is written once says what becomes of a unit of a row: a vector of f32 lanes on CPUs, what
// one thread moves at once on GPUs. CpuLowering and GpuLowering differ in how operands lie in memory and in
// who meets which unit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernel/builder.h"
#include "kernel/lower/lower.h"

namespace mlc::kernel {

// An operand or result in memory: a matrix; a vector counts as one row for all.
struct Operand {
  BufferRef buffer;
  DType stored = DType::kF32;  // of an element; halves in a buffer of u32 lie in pairs in its words
  Dim rows;
  int64_t columns = 0;
  int64_t row_stride = 0, column_offset = 0;
  int64_t heads = 1;   // rows of the operand that lie side by side in a row of memory
  bool tiled = false;  // bf16 in graph::kTileLayout
  WeightFormat
      q8;  // of quantized activations, whose bytes cpu/quantize.h knows: bits and group of the weights

  bool quantized() const { return q8.group > 0; }
  bool packed() const { return buffer->element.dtype == DType::kU32 && size_of(stored) == 2; }
  bool shared_vectors() const { return buffer->element.lanes > 1; }  // f32 of a group, met as whole elements
  int elements_per_word() const { return packed() ? 2 : 1; }
  ExprRef at(const ExprRef& row, const ExprRef& column) const {  // index of an element
    if (heads == 1) return row * row_stride + column + column_offset;
    return row / heads * row_stride + row % heads * columns + column + column_offset;
  }
  // Tiled: index of the first of the 32 elements of a row in a group of columns.
  ExprRef tile_at(const ExprRef& row, const ExprRef& group) const;
  // The most elements, at most 4, that can be moved at once at any multiple of themselves in a row.
  int lanes() const;
};

// Elements that a kernel meets at once: lanes of them from element `at` of a head on, which begins at column
// `head` of the row (0 where rows have no heads).
struct Unit {
  ExprRef row, head, at;
  int lanes = 1;
  ExprRef mask;  // the lanes that the row has, or null: all
  ExprRef column() const { return head + at; }
};

// A part of each head of a row: what becomes of its elements, which are counted from 0.
struct Part {
  int64_t elements = 0;
  int lanes = 1;        // most that the operands move at once (Operand::lanes); CPUs move any number
  bool single = false;  // one element a unit, everywhere
  std::function<void(const Unit&)> body;
};

// All units of a matrix.
struct Units {
  Dim rows;
  int64_t heads = 1, head_size = 0;
  std::vector<Part> parts;
  std::function<void(const ExprRef&)> enter;  // called with the row before any body that meets it, or null
  bool apart = false;                         // each head of a row is a tile of CPUs
};

// One row of a matrix, as sums over it and results of its elements need it.
class Row {
 public:
  explicit Row(ExprRef row) : index(std::move(row)) {}
  virtual ~Row() = default;
  // `op` (kAdd, kMax) of term(v) over the row's elements v, starting from `first`, a scalar constant.
  virtual ExprRef reduce(const std::string& name, BinaryOp op, const ExprRef& first,
                         const std::function<ExprRef(const ExprRef&)>& term) = 0;
  ExprRef sum(const std::string& name, const std::function<ExprRef(const ExprRef&)>& term) {
    return reduce(name, BinaryOp::kAdd, float_const(0), term);
  }
  // Stores value(unit, v) for the row's elements v as a row of `out`, which may be quantized or tiles on
  // CPUs.
  using Value = std::function<ExprRef(const Unit&, const ExprRef&)>;
  virtual void store(const Operand& out, const Value& value) = 0;

  const ExprRef index;
};

struct CachePages;  // cache.h

struct Lowering {
  const graph::Node& node;
  const graph::Module& module;
  const LowerOptions& options;
  const Target& target;
  KernelBuilder k;

  Lowering(const graph::Node& n, const graph::Module& m, const LowerOptions& o)
      : node(n), module(m), options(o), target(*o.target), k(n.op) {}
  virtual ~Lowering() = default;

  bool single_row() const { return options.max_rows == 1; }
  const graph::TensorType& type(size_t i) const { return node.inputs[i]->type; }
  const graph::PagedState& cache() const;
  virtual CachePages pages() const = 0;  // where the cache's tokens lie
  std::string pool_pages() const;        // the dimension that counts the pages of the cache's pool

  // Declare operands in order: inputs, the region's, the state, results. UserError for a type that the
  // target has no kernels for.
  virtual Operand declare(const std::string& name, DType stored, const Dim& elements, bool writable) = 0;
  Operand matrix(size_t i, const std::string& name);
  Operand region_matrix(size_t i, const std::string& name);  // operand i of the region
  Operand vector(size_t i, const std::string& name) { return vector(type(i), name); }
  Operand vector(const graph::TensorType& type, const std::string& name);
  virtual Operand state(bool writable) = 0;  // of the node's layer, or of all where it has none
  // The same of a state of slots, which are rows.
  const graph::SlotState& slot_state() const;
  Operand slots();
  Operand result(size_t i = 0, const std::string& name = "out");

  // Elements [index, index + lanes) as f32. Packed: lanes is 1, 2 or 4 and index a multiple of it.
  ExprRef load(const Operand& from, const ExprRef& index, int lanes = 1, const ExprRef& mask = nullptr);
  ExprRef load(const Operand& from, const Unit& u) {
    return load(from, from.at(u.row, u.column()), u.lanes, u.mask);
  }
  // Makes each of the heads of a matrix's rows, of `columns` elements, a row of its own.
  void split_heads(Operand& matrix, int64_t columns) const;
  // An i32 as an index.
  ExprRef load_index(const Operand& from, const ExprRef& index) {
    return cast(k.load(from.buffer, index), DType::kI64);
  }
  // Rounds f32 values to the operand's type and stores them. Packed: an even number of them.
  void store(const Operand& to, const ExprRef& index, const ExprRef& value, const ExprRef& mask = nullptr);
  void store(const Operand& to, const Unit& u, const ExprRef& value) {
    store(to, to.at(u.row, u.column()), value, u.mask);
  }
  // A branch, or none where `inside` is null.
  void where(const ExprRef& inside, const std::function<void()>& body);

  // The function's grid: each unit is met once.
  virtual void for_each_unit(const Units& units) = 0;
  // The function's grid: each row of x is met once, its results are a row of `out`.
  virtual void for_each_row(const Operand& x, const Operand& out, const std::function<void(Row&)>& body) = 0;

 private:
  // Where operand i of a list of inputs and the region's operands lies: as options.input_views says, or
  // dense.
  View view(size_t i, const graph::TensorType& type) const;
  Operand declare_matrix(const graph::TensorType& type, const View& at, const std::string& name,
                         bool writable);
};

Dim elements_of(const graph::Shape& shape);
// Rows of a tensor in memory: the product of all its dimensions but the last.
Dim rows_of(const graph::TensorType& type);

// The two f16 or bf16 of a word as f32x2.
ExprRef unpack_pair(DType stored, const ExprRef& word);
// A vector of 2 or 4 scalars, or the one.
ExprRef vector_of(const std::vector<ExprRef>& lanes);

}  // namespace mlc::kernel
