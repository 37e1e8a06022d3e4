// Inside of the interpreter: an expression as a tree of nodes whose results lie at fixed offsets of a frame.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/ir.h"

namespace mlc::kernel {

struct Region {  // where a buffer lies while running
  uint8_t* data = nullptr;
  int64_t bytes = 0;
};

// Sees every access to a global or shared buffer of a thread-bound function, in bytes of the region. `site`
// is the same for all accesses by one expression or statement.
class AccessObserver {
 public:
  virtual void access(const void* site, int thread, int region, int64_t byte, int64_t bytes, bool store) = 0;

 protected:
  ~AccessObserver() = default;
};

struct Frame {
  std::vector<uint8_t> memory;  // values: variables, constants, intermediate results, register arrays
  std::vector<Region> regions;  // global and shared buffers
  AccessObserver* observer =
      nullptr;  // thread-bound functions: whom to tell about accesses of thread `thread`
  int thread = 0;
};

// One compiled expression. run == nullptr: the value is already there (variables, constants, dims).
struct Node {
  void (*run)(const Node&, Frame&) = nullptr;
  int64_t out = 0;  // offset of the result in Frame::memory
  int lanes = 1;
  int element_bytes = 4;
  const Node* operands[3] = {};
  std::vector<const Node*> parts;  // kShuffle: its operands
  int64_t immediate = 0;           // kRamp: stride; kLoad: bytes per index unit
  int region = -1;                 // kLoad, kGather: index in Frame::regions
  bool wide_index = true;          // kGather: i64 lanes, else i32
  const char* name = "";           // of the buffer, for messages
  std::vector<int64_t>
      offsets;  // kShuffle: offset in Frame::memory of each result lane; register loads: the array
};

inline const uint8_t* evaluate(const Node* n, Frame& f) {
  if (n->run) n->run(*n, f);
  return f.memory.data() + n->out;
}

template <typename T>
T read(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

inline int64_t evaluate_index(const Node* n, Frame& f) {  // i64 or i32
  const uint8_t* value = evaluate(n, f);
  return n->element_bytes == 8 ? read<int64_t>(value) : read<int32_t>(value);
}

// Sets `run` of a unary, binary, select, cast, fma, dot, reduce or math node from its expression. The
// operands are set.
void choose_arithmetic(const Expr& expr, Node& node);

// Bytes of a value of this type in the frame.
inline int64_t value_bytes(Type t) { return int64_t{t.lanes} * size_of(t.dtype); }

}  // namespace mlc::kernel
