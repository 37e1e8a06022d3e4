// The kernel IR: one function over typed buffers, as loops bound to levels of the machine, vectors and
// explicit stores.
//
// Semantics (what every pass, interpreter and emitter must keep):
//   * Integers are two's complement and wrap; kFloorDiv and kMod round down and need a positive divisor;
//   shifts need
//     0 <= count < bits; kShr is arithmetic for signed and logical for unsigned types. Indices are i64;
//     narrow_indices makes them i32 where a device has no i64.
//   * Floats are IEEE: each operation rounds once to its type, ties to even, no flushing; kFma rounds once in
//   all. NaN
//     propagates through every operation except kMin/kMax, which return the other operand, and comparisons
//     (false). Nothing is reassociated, contracted or assumed finite: the order written is the order run.
//   * kCast float->int truncates and needs a value in range; float->float rounds to nearest even; int->float
//   likewise. To bf16,
//     what is below the smallest normal number may become zero, and what rounds past the largest one
//     infinite.
//   * Expressions are pure except that a load sees every store that ran before it. An expression is evaluated
//   where it
//     stands, each time it is referenced; Let names a value that is computed once.
//   * Distinct buffers do not overlap, except that a read-only input may equal an output when the kernel
//   reads each
//     element before writing it (elementwise kernels; Function::in_place says so).
//   * Loops of kind kGrid may run in any order and at the same time; a result must not depend on it. Stores
//   of different
//     grid iterations go to different elements.
//   * A load or store outside a buffer is a bug of the kernel, except for lanes masked off: they touch
//   nothing, a masked
//     load gives 0.
//
// Matrices: kFragment buffers are registers of a matrix unit, which only kMatrix touches: kA [rows, depth]
// and kB [depth, columns] of 16-bit floats, kSum [rows, columns] of f32, in memory a kShared f32. `begin` and
// `stride` count the memory's elements; lines (MatrixOrder) begin `stride` apart. kMultiply adds A B to a
// sum; products are exact. On CPUs factors are bf16, as is their memory; even and odd k are summed from zero
// apart, then together, then to the sum, each rounded to f32; subnormals may count as zero. On GPUs the order
// of sums and their rounding (to f32 or better, each) are the device's.
//
// Thread-bound functions (GPUs) have one kThread loop; verify() holds them to all of this:
//   * Shape: the body is the grid loop alone. The grid loop's body is kAllocs of kShared buffers, then the
//   kThread loop, last:
//       grid %group = 0, $tiles { shared %a: f32[256]  shared %b: f32x4[64]  thread %t = 0, 64 { ... } }
//     begin 0, constant extent 1..256: the threads of a group, one-dimensional. Serial loops, kLet, kIf,
//     register allocations, stores, barriers and subgroup operations are inside of it.
//   * A group's threads run at the same time and in any order between barriers; groups do not see each other.
//   kBarrier
//     makes every store (shared or global) of the group's threads before it visible to all of them after it.
//     Between two barriers no thread may store an element that another one loads or stores.
//   * Thread t is lane t % S of subgroup t / S, where S = Function::subgroup_size divides the number of
//   threads (0: the
//     function has no subgroup operations). kSubgroup, kSubgroupXor and kSubgroupBroadcast stand only as the
//     whole value of a kLet. The order of a float kSubgroup is the device's; every lane gets the same bits.
//   * Barriers and subgroup operations stand only in control flow that is uniform over the group: every kIf
//   and kFor
//     around them has conditions and bounds made of constants, dims, the grid variable, variables of such
//     loops and lets, and loads from inputs at uniform indices: what any language can prove. (A loop over
//     what a shared buffer holds has no barrier in it.)
//   * kShared and kRegister buffers may hold vectors (element.lanes 2 or 4); an access then takes one whole
//   element and
//     the index counts elements. Other accesses of n lanes have an index that is a multiple of n.
//   * A shared buffer holds garbage when a group starts.
//   * Fragments (below) are kept by the lanes of a subgroup together: kMatrix stands in control flow as for
//   barriers, and all
//     lanes of a subgroup have equal operands. Factors are f16; memory is a kShared buffer of u32, two halves
//     in a word.
// Device functions are thread-bound functions after the passes, what emitters of GPU languages get;
// verify_device() checks:
//   * Types are bool, i32, u32 and f32 with 1, 2 or 4 lanes; buffers hold i32, u32 or f32 with as many, which
//   every access takes whole. Dims, loop variables and indices are i32: no buffer has 2^31 elements.
//   * 16-bit floats lie in u32 words and are read by kUnpackHalf and written by kPackHalf; bf16, u8 and i8
//   are shifted out
//     of words. A buffer of an odd number of halves is rounded up to whole words, in size and in memory.
//   * No masks, kGather, kScatter, kRamp, kReduce, kDot2*, kPrefetch or kUnrolled; no kCall unless the target
//   has native math.
//     kDot4 is i32 x1 only, where the target has it, of bitcast u32 words.
//   * kFloorDiv and kMod have operands >= 0 and a divisor > 0, so that plain division of the device will do.
//   * Global buffers start at multiples of 16 bytes, so that vector loads are aligned.
//   * Freedoms of devices: kFma may round twice, denormals may be flushed to zero, kDiv and kSqrt may be off
//   by 3 ulp.
//     kMin, kMax and comparisons keep their rules for NaN; kernels do not rely on infinities.
//
// Text form (print.h, parse.h) round-trips; every expression is printed with its type where it is not
// evident.
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
  kFragment,  // one per subgroup (CPUs: per thread): matrices of `fragment`'s shape, `size` of them
};

struct Fragment {
  enum class Role : uint8_t { kA, kB, kSum };
  Role role = Role::kSum;
  int rows = 0, columns = 0;
  friend bool operator==(const Fragment&, const Fragment&) = default;
};

// A named memory region. kGlobal buffers are the function's parameters, in ABI order.
struct Buffer {
  std::string name;
  Type element;  // lanes > 1: an array of vectors; kRegister, and all scopes of thread-bound functions
  Scope scope = Scope::kGlobal;
  bool writable = false;   // kGlobal only; the others always are
  Dim size;                // elements; constant unless kGlobal
  Fragment fragment = {};  // kFragment
};
using BufferRef = std::shared_ptr<const Buffer>;

enum class ExprKind : uint8_t {
  kIntConst,
  kFloatConst,
  kVar,     // a loop variable or a Let
  kDim,     // a dimension of the call, i64 (i32 in device functions)
  kLoad,    // buffer[index .. index+lanes), optional mask (bool lanes). From a u8 buffer any type can be
            // loaded; then the index counts bytes. kRegister: the element at index.
  kGather,  // lane i = buffer[indices[i]] (i64 or i32 lanes), optional mask
  kUnary,
  kBinary,
  kSelect,      // a ? b : c, lanewise (a is bool lanes)
  kCast,        // value conversion, lanewise
  kBitcast,     // same bits, other type (lanes may change: u8x32 <-> i32x8, lane 0 in the low bits)
  kBroadcast,   // scalar to all lanes
  kRamp,        // base + i * stride for lane i (ints)
  kShuffle,     // lane i = concatenation of the operands [pattern[i]]; covers extract, concat, interleave,
                // reverse
  kFma,         // a * b + c, rounded once. Legalized to mul and add where the target has none.
  kDot4,        // i32xN acc + 4 products of i8/u8 lanes: a u8x4N or s8x4N, b s8x4N, c = acc; no saturation
  kDot2U8S8,    // i16xN = sum of 2 products u8 x s8; precondition: cannot exceed i16 (users state the bound)
  kDot2I16,     // i32xN = sum of 2 products i16 x i16
  kReduce,      // all lanes to one: kAdd, kMin, kMax. The order is a tree of halves: lanes i and i+n/2 first
  kCall,        // a math function of MathFn, lanewise on f32; expand_math turns it into arithmetic
  kUnpackHalf,  // f32x2 = the two f16 in a u32, low half in lane 0
  kPackHalf,    // u32 = the two lanes of f32x2 rounded to f16 (even on ties where the device has a choice),
                // lane 0 low
  kHalfFma,     // u32 = a * b + c of each half of three u32, rounded to f16 from f32 or better (targets with
                // half_arithmetic)
  kSubgroup,    // combines the operand of all lanes of the subgroup, lanewise, by `binary` (kAdd, kMin, kMax)
  kSubgroupXor,        // the operand of lane (this lane ^ int_value), 0 < int_value < subgroup_size
  kSubgroupBroadcast,  // the operand of lane int_value, 0 <= int_value < subgroup_size
};

enum class UnaryOp : uint8_t { kNeg, kAbs, kSqrt, kFloor, kRoundEven, kNot };
enum class BinaryOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
  kShl,
  kShr,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe
};
enum class MathFn : uint8_t { kExp, kTanh, kErf, kLog, kRsqrt, kReciprocal };

struct Expr;
using ExprRef = std::shared_ptr<const Expr>;

struct Expr {
  ExprKind kind;
  Type type;
  int64_t int_value = 0;
  double float_value = 0;
  std::string name;  // kVar, kDim
  BufferRef buffer;  // kLoad, kGather
  UnaryOp unary{};
  BinaryOp binary{};  // kBinary, kReduce
  MathFn math{};
  std::vector<ExprRef> operands;  // kLoad: index[, mask]
  std::vector<int> pattern;       // kShuffle
};

enum class LoopKind : uint8_t {
  kSerial,
  kUnrolled,  // constant extent; emitted as straight code
  kGrid,      // the tiles of a call: outermost, exactly one per function
  kThread,    // the threads of one group: thread-bound functions
};

enum class StmtKind : uint8_t {
  kLet,
  kStore,
  kScatter,
  kFor,
  kIf,
  kBlock,
  kAlloc,
  kBarrier,
  kPrefetch,
  kMatrix
};

// What a kMatrix statement does to fragment `index` (a constant) of `buffer`.
enum class MatrixOp : uint8_t {
  kClear,     // zeros
  kLoad,      // from memory
  kStore,     // to memory
  kMultiply,  // sum += factors[0] * factors[1]
};

// The lines of a fragment in memory.
enum class MatrixOrder : uint8_t {
  kRows,
  kColumns,
  kPairs,  // of rows: the elements (r, c) and (r + 1, c) lie side by side, then those of column c + 1. kB of
           // CPUs.
};

struct FragmentRef {
  BufferRef buffer;
  int64_t index = 0;
};

struct Stmt;
using StmtRef = std::shared_ptr<const Stmt>;

struct Stmt {
  StmtKind kind;
  std::string name;       // kLet, kFor: the variable
  ExprRef value;          // kLet, kStore: the value; kIf: the condition
  BufferRef buffer;       // kStore, kAlloc, kPrefetch
  ExprRef index;          // kStore, kPrefetch (elements; bytes for u8 views as in kLoad)
  ExprRef mask;           // kStore: optional
  ExprRef begin, extent;  // kFor
  LoopKind loop{};
  int locality = 3;   // kPrefetch: 0 (streaming) .. 3 (keep in L1)
  MatrixOp matrix{};  // kMatrix
  BufferRef memory;   // kMatrix kLoad and kStore: kShared, from element `begin` on
  int64_t stride = 0;
  MatrixOrder order{};
  FragmentRef factors[2];          // kMatrix kMultiply
  std::vector<StmtRef> body;       // kFor, kBlock, kIf (then); kAlloc scopes to the end of its block
  std::vector<StmtRef> otherwise;  // kIf
};

// One kernel. CPU ABI: void k(void* const* buffers, const int64_t* dims, int64_t tile_begin, int64_t
// tile_end, void* scratch), buffers and dims in the order below; it runs the grid iterations [tile_begin,
// tile_end).
struct Function {
  std::string name;
  std::vector<BufferRef> buffers;
  std::vector<std::string> dims;
  Dim tiles;                  // number of grid iterations, in `dims`; does not depend on the thread count
  int64_t scratch_bytes = 0;  // memory of kShared buffers, set by place_shared; per running thread
  bool in_place = false;      // buffers[0] may equal the output
  int subgroup_size = 0;  // lanes of a subgroup that the function is written for; 0: no subgroup operations
  std::vector<StmtRef> body;  // contains one kGrid loop at top level
};

// Threads of a group: the extent of the kThread loop; 0 when the function is not thread-bound.
int64_t thread_count(const Function& function);

// kSubgroup, kSubgroupXor or kSubgroupBroadcast.
inline bool is_subgroup(const Expr& e) {
  return e.kind == ExprKind::kSubgroup || e.kind == ExprKind::kSubgroupXor ||
         e.kind == ExprKind::kSubgroupBroadcast;
}

// GPU ABI. Buffers are bound in order from 0 (inputs read-only); dims follow as i32 constants of the call in
// order. One group runs one grid iteration: `tiles` groups in rows of kGroupsPerRow, so that the grid
// variable is x + y * kGroupsPerRow for group (x, y) of a launch of (min(tiles, kGroupsPerRow),
// ceildiv(tiles, kGroupsPerRow)) groups. Groups whose number is not below the grid loop's extent do nothing.
// (65535 groups a dimension are legal everywhere.)
constexpr int64_t kGroupsPerRow = 32768;

}  // namespace mlc::kernel
