// Inside of the interpreter: a function as steps over nodes, run by one thread (interpret.cpp) or by the
// threads of groups (interpret_threads.cpp).
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "kernel/interpret.h"
#include "kernel/interpret_nodes.h"

namespace mlc::kernel {

struct Step {  // a compiled statement
  StmtKind kind;
  const Node* value = nullptr;
  const Node* index = nullptr;
  const Node* mask = nullptr;
  const Node* begin = nullptr;
  const Node* extent = nullptr;
  int64_t slot = 0;   // kLet, kFor: offset of the variable; kStore to registers: offset of the array
  int64_t bytes = 0;  // size of the variable or of one array element
  int64_t count = 0;  // registers: elements
  int64_t unit = 1;   // bytes per index unit
  int region = -1;    // global and shared buffers
  LoopKind loop{};    // kFor
  const Expr* subgroup =
      nullptr;  // kLet of a subgroup operation; value is its node, whose operand is computed before it
  const Stmt* matrix = nullptr;  // kMatrix; slot is its fragment, begin its place in region
  int64_t factor_slots[2] = {};  // kMatrix kMultiply
  std::string name;
  std::vector<Step> body, otherwise;
};

// The lines of the memory that a kMatrix load or store moves, in bytes of its region; they lie inside of it.
struct MatrixLines {
  int64_t begin, count, bytes, stride;
};
MatrixLines matrix_lines(const Step& s, Frame& f);
// Performs one kMatrix statement for the frame that keeps the fragments: of a subgroup, the first lane's.
void run_matrix(const Step& s, Frame& f);

// Performs one store or scatter, or one allocation of registers or of shared memory, for the frame's thread.
void run_store(const Step& s, Frame& f);
void run_scatter(const Step& s, Frame& f);
void run_alloc(const Step& s, Frame& f);

struct Program::Impl {
  Function function;
  std::vector<uint8_t> image;  // initial memory of a frame
  std::deque<Node> nodes;
  std::map<std::string, int64_t> variables;  // offsets
  std::map<std::string, int64_t> dims;
  std::map<const Buffer*, int> regions;     // index in Frame::regions
  std::map<const Buffer*, int64_t> arrays;  // register arrays: offsets
  std::map<const Expr*, const Node*> seen;  // one node serves all references: it is run at each of them
  std::vector<int64_t> shared_bytes;        // of regions after the global ones
  std::vector<int64_t> shared_units;        // bytes of one scalar of them
  std::vector<std::string> shared_names;
  std::vector<Step> steps;

  int64_t allocate(int64_t bytes) {
    auto offset = static_cast<int64_t>((image.size() + 63) / 64 * 64);
    image.resize(static_cast<size_t>(offset + bytes));
    return offset;
  }
  const std::string& region_name(int region) const {
    auto i = static_cast<size_t>(region), globals = function.buffers.size();
    return i < globals ? function.buffers[i]->name : shared_names[i - globals];
  }
  const Node* compile(const ExprRef& expr);
  void compile_leaf(const Expr& e, Node& n);
  void compile_memory(const Expr& e, Node& n);
  void compile_shuffle(const Expr& e, Node& n);
  Step compile(const Stmt& s);
  void compile_alloc(const Stmt& s, Step& step);
  void compile_access(const Stmt& s, Step& step);
  void compile_matrix(const Stmt& s, Step& step);
  std::vector<Step> compile(const std::vector<StmtRef>& list);

  // Where a frame keeps a fragment: elements as f32, row by row.
  int64_t fragment_slot(const BufferRef& b, int64_t index) const {
    return arrays.at(b.get()) + index * b->fragment.rows * b->fragment.columns * int64_t{sizeof(float)};
  }

  // Of functions that are not thread-bound; interpret_threads.h runs the others.
  void run(const std::vector<Step>& list, Frame& f, int64_t tile_begin, int64_t tile_end) const;
  void run_loop(const Step& s, Frame& f, int64_t tile_begin, int64_t tile_end) const;
};

}  // namespace mlc::kernel
