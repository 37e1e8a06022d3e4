// The kernel IR: one function over typed buffers, as loops bound to levels of the machine, vectors and explicit stores.
//
// Semantics (what every pass, interpreter and emitter must keep):
//   * Integers are two's complement and wrap; kFloorDiv and kMod round down and need a positive divisor; shifts need
//     0 <= count < bits; kShr is arithmetic for signed and logical for unsigned types. Indices are i64.
//   * Floats are IEEE: each operation rounds once to its type, ties to even, no flushing; kFma rounds once in all. NaN
//     propagates through every operation except kMin/kMax, which return the other operand, and comparisons (false).
//     Nothing is reassociated, contracted or assumed finite: the order written is the order run.
//   * kCast float->int truncates and needs a value in range; float->float rounds to nearest even; int->float likewise.
//   * Expressions are pure except that a load sees every store that ran before it. An expression is evaluated where it
//     stands, each time it is referenced; Let names a value that is computed once.
//   * Distinct buffers do not overlap, except that a read-only input may equal an output when the kernel reads each
//     element before writing it (elementwise kernels; Function::in_place says so).
//   * Loops of kind kGrid may run in any order and at the same time; a result must not depend on it. Stores of different
//     grid iterations go to different elements.
//   * A load or store outside a buffer is a bug of the kernel, except for lanes masked off: they touch nothing, a masked
//     load gives 0.
//
// Text form (print.h, parse.h) round-trips; every expression is printed with its type where it is not evident.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/dim.h"
#include "base/dtype.h"

namespace mlc::kernel {

struct Type {
  DType dtype = DType::kF32;
  int lanes = 1;  // a power of two; 1 is a scalar
  friend bool operator==(const Type&, const Type&) = default;
  Type with_lanes(int n) const { return {dtype, n}; }
  Type with_dtype(DType t) const { return {t, lanes}; }
  std::string text() const;  // "f32", "f32x8"
};

enum class Scope : uint8_t {
  kGlobal,    // a buffer of the call
  kShared,    // one per grid iteration, seen by its threads (on a CPU: scratch memory)
  kRegister,  // one per thread; indices are constants after unrolling
};

// A named memory region. kGlobal buffers are the function's parameters, in ABI order.
struct Buffer {
  std::string name;
  Type element;              // lanes > 1 only for kRegister: an array of vectors
  Scope scope = Scope::kGlobal;
  bool writable = false;     // kGlobal only; the others always are
  Dim size;                  // elements; constant unless kGlobal
};
using BufferRef = std::shared_ptr<const Buffer>;

enum class ExprKind : uint8_t {
  kIntConst, kFloatConst,
  kVar,        // a loop variable or a Let
  kDim,        // a dimension of the call, i64
  kLoad,       // buffer[index .. index+lanes), optional mask (bool lanes). From a u8 buffer any type can be loaded; then
               // the index counts bytes. kRegister: the element at index.
  kGather,     // lane i = buffer[indices[i]] (i64 or i32 lanes), optional mask
  kUnary, kBinary,
  kSelect,     // a ? b : c, lanewise (a is bool lanes)
  kCast,       // value conversion, lanewise
  kBitcast,    // same bits, other type (lanes may change: u8x32 <-> i32x8, lane 0 in the low bits)
  kBroadcast,  // scalar to all lanes
  kRamp,       // base + i * stride for lane i (ints)
  kShuffle,    // lane i = concatenation of the operands [pattern[i]]; covers extract, concat, interleave, reverse
  kFma,        // a * b + c, rounded once. Legalized to mul and add where the target has none.
  kDot4,       // i32xN acc + 4 products of i8/u8 lanes: a u8x4N or s8x4N, b s8x4N, c = acc; no saturation
  kDot2U8S8,   // i16xN = sum of 2 products u8 x s8; precondition: cannot exceed i16 (users state the bound)
  kDot2I16,    // i32xN = sum of 2 products i16 x i16
  kReduce,     // all lanes to one: kAdd, kMin, kMax. The order is a tree of halves: lanes i and i+n/2 first
  kCall,       // a math function of MathFn, lanewise on f32; expand_math turns it into arithmetic
};

enum class UnaryOp : uint8_t { kNeg, kAbs, kSqrt, kFloor, kRoundEven, kNot };
enum class BinaryOp : uint8_t {
  kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kMin, kMax, kAnd, kOr, kXor, kShl, kShr, kEq, kNe, kLt, kLe, kGt, kGe
};
enum class MathFn : uint8_t { kExp, kTanh, kErf, kLog, kRsqrt, kReciprocal };

struct Expr;
using ExprRef = std::shared_ptr<const Expr>;

struct Expr {
  ExprKind kind;
  Type type;
  int64_t int_value = 0;
  double float_value = 0;
  std::string name;              // kVar, kDim
  BufferRef buffer;              // kLoad, kGather
  UnaryOp unary{};
  BinaryOp binary{};             // kBinary, kReduce
  MathFn math{};
  std::vector<ExprRef> operands; // kLoad: index[, mask]
  std::vector<int> pattern;      // kShuffle
};

enum class LoopKind : uint8_t {
  kSerial,
  kUnrolled,  // constant extent; emitted as straight code
  kGrid,      // the tiles of a call: outermost, exactly one per function
  kThread,    // threads of one tile (GPU); a CPU runs them as a serial loop
};

enum class StmtKind : uint8_t { kLet, kStore, kScatter, kFor, kIf, kBlock, kAlloc, kBarrier, kPrefetch };

struct Stmt;
using StmtRef = std::shared_ptr<const Stmt>;

struct Stmt {
  StmtKind kind;
  std::string name;            // kLet, kFor: the variable
  ExprRef value;               // kLet, kStore: the value; kIf: the condition
  BufferRef buffer;            // kStore, kAlloc, kPrefetch
  ExprRef index;               // kStore, kPrefetch (elements; bytes for u8 views as in kLoad)
  ExprRef mask;                // kStore: optional
  ExprRef begin, extent;       // kFor
  LoopKind loop{};
  int locality = 3;            // kPrefetch: 0 (streaming) .. 3 (keep in L1)
  std::vector<StmtRef> body;   // kFor, kBlock, kIf (then); kAlloc scopes to the end of its block
  std::vector<StmtRef> otherwise;  // kIf
};

// One kernel. CPU ABI: void k(void* const* buffers, const int64_t* dims, int64_t tile_begin, int64_t tile_end,
// void* scratch), buffers and dims in the order below; it runs the grid iterations [tile_begin, tile_end).
struct Function {
  std::string name;
  std::vector<BufferRef> buffers;
  std::vector<std::string> dims;
  Dim tiles;                   // number of grid iterations, in `dims`; does not depend on the thread count
  int64_t scratch_bytes = 0;   // memory of kShared buffers, set by place_shared; per running thread
  bool in_place = false;       // buffers[0] may equal the output
  std::vector<StmtRef> body;   // contains one kGrid loop at top level
};

}  // namespace mlc::kernel
