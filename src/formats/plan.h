// The plan: what the compiler writes and the runtime runs. Per function, bodies guarded by ranges of symbols;
// a body is a flat list of kernel calls whose sizes and offsets are integer expressions. No control flow.
//
// Bytes. A number is an i64 in zigzag form (0, -1, 1, -2, ... as 0, 1, 2, 3, ...), 7 bits a byte, the lowest
// first, all but the last byte with the highest bit set. A count is bounded by what is left of the input.
//   1. magic "MLCPLAN5" (8 bytes)
//   2. symbols:    count, then strings (length, bytes): names of dimensions
//   3. expressions: count, then each: number of tokens, then tokens (opcode, operand): postfix; opcode =
//      DimOp, operand = the constant, the symbol's index, or 0
//   4. kernels:    count, then names; the position is the index into the variant's kernel table
//   5. weights:    count, then {name, dtype names and sources, bytes, preproc} as PlanWeight below
//   6. states:     count, then PlanState
//   7. functions:  count, then PlanFunction with its bodies and calls; of a call the kernel, then kind,
//      numbers of buffers and dims, tiles, scratch, buffers, dims, each as its difference from the call of
//      that kernel before it in the file
//   8. pieces:     count, then {weight, axis, rows: count, then first and count each}: PlanWeight::rows
//   9. preprocs' scratch memory: count, then {weight, bytes}
// Other versions are refused: a library is compiled anew in seconds.
// Expressions are shared: everything that is a size, an offset or a count is an index into list 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dim.h"
#include "base/dtype.h"
#include "base/status.h"

namespace mlc {

using ExprId = uint32_t;

struct PlanRows {
  int64_t first = 0, count = 0;
};

// A weight as kernels see it: one buffer, made from the records of one tensor of the model. A matrix that
// is larger than a call may bind is several weights of one name, each a piece of its rows.
struct PlanWeight {
  std::string name;                        // "model.norm.weight"
  std::vector<std::string> sources;        // records of tensor-cache.json: {"X.q_weight", "X.q_scale"} or
                                           // {"X.weight"}; none: the runtime fills it, with adapters
  std::vector<std::string> source_dtypes;  // "uint32", "float16", as the records must say
  std::vector<std::vector<int64_t>> source_shapes;
  int64_t bytes = 0;            // of the buffer
  int32_t preproc_kernel = -1;  // kernel that makes the buffer from the sources; -1: the one source as it is
  int64_t preproc_tiles = 0;
  int64_t preproc_scratch_bytes = 0;  // per thread
  std::vector<PlanRows> rows = {};  // of a piece: what it takes of the sources, in order; empty: all of them
  uint32_t row_axis = 0;  // where the sources' shapes count those rows: 0, all axes but the last, or 1
};
// The rows of a source that pieces count, or 0 where it has none: a shape of one axis, or one that multiplies
// past 2^62.
int64_t source_rows(const std::vector<int64_t>& shape, uint32_t row_axis);

// Of a state: what a token (paged) or a sequence (slots) has in one layer, under a name.
struct PlanPart {
  std::string name;                 // "key", "value", "wkv"
  int64_t heads = 1, elements = 0;  // elements of a head
  DType dtype = DType::kF32;
  // Codes of i8 have an f32 scale for each head.
  int64_t bytes() const { return heads * (elements * size_of(dtype) + (dtype == DType::kI8 ? 4 : 0)); }
};

// A state of the module (graph/ir.h), to the runtime a buffer of opaque units: pages or slots. It holds
// layers x the pool's units x unit_bytes; in which order is the kernels' own affair (kernel/lower/cache.h).
struct PlanState {
  enum class Kind : uint8_t { kPaged, kSlots };
  std::string name;
  Kind kind = Kind::kPaged;
  int64_t layers = 0;
  int64_t page_size = 0;  // tokens; slots: 0
  int64_t window = 0;     // the last tokens of a sequence that are retained; 0 = all
  int64_t group = 0;      // paged: which block table it has
  std::vector<PlanPart> parts;
  int64_t unit_bytes() const {  // of one layer
    int64_t bytes = 0;
    for (const PlanPart& part : parts) bytes += part.bytes();
    return kind == Kind::kPaged ? page_size * bytes : bytes;
  }
};

struct PlanTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<ExprId> shape;
};

// Where a call finds a buffer: base of the space's item + byte offset.
struct PlanBuffer {
  enum class Space : uint8_t { kArgument, kResult, kWeight, kState, kArena };
  Space space = Space::kArena;
  uint32_t index = 0;  // of the argument, result, weight or state; 0 for the arena
  ExprId offset = 0;   // bytes
  ExprId bytes = 0;    // that the kernel may touch from there on
};

struct PlanCall {
  enum class Kind : uint8_t {
    kKernel
  };  // copy, fill, all_reduce and all_gather are kernels or come with their issue
  Kind kind = Kind::kKernel;
  uint32_t kernel = 0;
  std::vector<PlanBuffer> buffers;
  std::vector<ExprId> dims;  // values for the kernel's dims, in its order
  ExprId tiles = 0;
  int64_t scratch_bytes = 0;  // per thread
};

// min <= symbol <= max; max 0 = no bound.
struct PlanGuard {
  uint32_t symbol = 0;  // of Plan::symbols
  int64_t min = 0, max = 0;
  bool holds(int64_t value) const { return value >= min && (max == 0 || value <= max); }
};

struct PlanBody {
  std::vector<PlanGuard> guards;
  ExprId arena_bytes = 0;
  std::vector<PlanCall> calls;
};

struct PlanFunction {
  std::string name;
  std::vector<PlanTensor> arguments, results;
  std::vector<PlanBody> bodies;  // the first of which all guards hold is run; the last has none
};

struct Plan {
  std::vector<std::string> symbols;
  std::vector<Dim> expressions;
  std::vector<std::string> kernels;
  std::vector<PlanWeight> weights;
  std::vector<PlanState> states;
  std::vector<PlanFunction> functions;

  const PlanFunction* find_function(std::string_view name) const;
  ExprId add_expression(const Dim& dim);  // its index, added when new
  uint32_t add_symbol(const std::string& name);
};

// A name that all block tables have, of one of them: group 0 has it as it is, group 1 with "_1" behind it.
inline std::string of_group(std::string_view name, int64_t group) {
  return group == 0 ? std::string(name) : std::string(name) + "_" + std::to_string(group);
}

// Rows of one sequence that are a tree: the mask of a row has a bit for each of the 30 before it.
inline constexpr int64_t kMostTreeTokens = 31;

// The dimensions that offsets into states use: how many pages a group's pool has, how many slots there are.
// The others are those of frontend/functions.h; runtime/executor.h gives all of them their values.
inline constexpr const char* kPoolPages = "pool_pages";
inline constexpr const char* kPoolSlots = "pool_slots";

std::string encode_plan(const Plan& plan);
// Checks every count, index and kind; `what` names the file. A plan that decodes is safe to walk.
Result<Plan> decode_plan(std::string_view bytes, const std::string& what);
// For people: one line a call.
std::string plan_text(const Plan& plan);

}  // namespace mlc
