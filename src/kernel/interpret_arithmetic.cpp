// The interpreter's arithmetic: one small function per node kind and element type.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"
#include "kernel/interpret_nodes.h"

namespace mlc::kernel {
namespace {

struct F16 {
  uint16_t bits;
  operator float() const { return f16_to_f32(bits); }
  static F16 from(float v) { return {f32_to_f16(v)}; }
};
struct BF16 {
  uint16_t bits;
  operator float() const { return bf16_to_f32(bits); }
  static BF16 from(float v) { return {f32_to_bf16(v)}; }
};

template <typename T>
constexpr bool kHalf = std::is_same_v<T, F16> || std::is_same_v<T, BF16>;

template <typename T>
T* result(const Node& n, Frame& f) {
  return reinterpret_cast<T*>(f.memory.data() + n.out);
}
template <typename T>
const T* operand(const Node& n, int i, Frame& f) {
  return reinterpret_cast<const T*>(evaluate(n.operands[i], f));
}

// Calls visit(T{}) with the C++ type of `dtype`; halves only when the visitor is ready for them.
template <typename Visitor>
void with_type(DType dtype, Visitor&& visit) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8: return visit(uint8_t{});
    case DType::kI8: return visit(int8_t{});
    case DType::kI16: return visit(int16_t{});
    case DType::kU16: return visit(uint16_t{});
    case DType::kI32: return visit(int32_t{});
    case DType::kU32: return visit(uint32_t{});
    case DType::kI64: return visit(int64_t{});
    case DType::kU64: return visit(uint64_t{});
    case DType::kF16: return visit(F16{});
    case DType::kBF16: return visit(BF16{});
    case DType::kF32: return visit(float{});
    case DType::kF64: return visit(double{});
    default: internal_error("kernel interpreter: element type without arithmetic");
  }
}

constexpr bool compares(BinaryOp op) {
  return op == BinaryOp::kEq || op == BinaryOp::kNe || op == BinaryOp::kLt || op == BinaryOp::kLe ||
         op == BinaryOp::kGt || op == BinaryOp::kGe;
}

template <typename T, BinaryOp op>
uint8_t compare(T a, T b) {
  if constexpr (op == BinaryOp::kEq) return a == b;
  if constexpr (op == BinaryOp::kNe) return a != b;
  if constexpr (op == BinaryOp::kLt) return a < b;
  if constexpr (op == BinaryOp::kLe) return a <= b;
  if constexpr (op == BinaryOp::kGt) return a > b;
  return a >= b;
}

template <typename T, BinaryOp op>
auto apply_binary(T a, T b) {
  using U = uint64_t;
  if constexpr (compares(op))
    return compare<T, op>(a, b);
  else if constexpr (std::is_floating_point_v<T>) {
    if constexpr (op == BinaryOp::kAdd)
      return a + b;
    else if constexpr (op == BinaryOp::kSub)
      return a - b;
    else if constexpr (op == BinaryOp::kMul)
      return a * b;
    else if constexpr (op == BinaryOp::kDiv)
      return a / b;
    else if constexpr (op == BinaryOp::kMin)
      return std::fmin(a, b);
    else if constexpr (op == BinaryOp::kMax)
      return std::fmax(a, b);
    else {
      internal_error("kernel interpreter: integer operation on floats");
      return a;
    }
  } else {
    if constexpr (op == BinaryOp::kAdd)
      return static_cast<T>(U(a) + U(b));
    else if constexpr (op == BinaryOp::kSub)
      return static_cast<T>(U(a) - U(b));
    else if constexpr (op == BinaryOp::kMul)
      return static_cast<T>(U(a) * U(b));
    else if constexpr (op == BinaryOp::kMin)
      return std::min(a, b);
    else if constexpr (op == BinaryOp::kMax)
      return std::max(a, b);
    else if constexpr (op == BinaryOp::kAnd)
      return static_cast<T>(a & b);
    else if constexpr (op == BinaryOp::kOr)
      return static_cast<T>(a | b);
    else if constexpr (op == BinaryOp::kXor)
      return static_cast<T>(a ^ b);
    else if constexpr (op == BinaryOp::kShl || op == BinaryOp::kShr) {
      internal_check(U(b) < sizeof(T) * 8, "kernel interpreter: shift count out of range");
      return op == BinaryOp::kShl ? static_cast<T>(U(a) << U(b)) : static_cast<T>(a >> b);
    } else if constexpr (op == BinaryOp::kFloorDiv || op == BinaryOp::kMod) {
      internal_check(b > 0, "kernel interpreter: division needs a positive divisor");
      T quotient = static_cast<T>(a / b), rest = static_cast<T>(a % b);
      if (rest < 0) {
        --quotient;
        rest = static_cast<T>(rest + b);
      }
      return op == BinaryOp::kFloorDiv ? quotient : rest;
    } else {
      internal_error("kernel interpreter: float operation on integers");
      return a;
    }
  }
}

template <typename T, BinaryOp op>
void run_binary(const Node& n, Frame& f) {
  const T* a = operand<T>(n, 0, f);
  const T* b = operand<T>(n, 1, f);
  auto* out = result<decltype(apply_binary<T, op>(T{}, T{}))>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = apply_binary<T, op>(a[i], b[i]);
}

template <typename T, BinaryOp op>
void run_reduce(const Node& n, Frame& f) {
  const T* a = operand<T>(n, 0, f);
  T lanes[256];
  int count = static_cast<int>(n.immediate);
  std::memcpy(lanes, a, static_cast<size_t>(count) * sizeof(T));
  for (int half = count / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = apply_binary<T, op>(lanes[i], lanes[i + half]);
  *result<T>(n, f) = lanes[0];
}

template <typename T>
void choose_binary(BinaryOp op, bool reduce, Node& node) {
#define MLC_CASE(name) \
  case BinaryOp::name: node.run = reduce ? nullptr : run_binary<T, BinaryOp::name>; return
#define MLC_REDUCE(name)                                                               \
  case BinaryOp::name:                                                                 \
    node.run = reduce ? run_reduce<T, BinaryOp::name> : run_binary<T, BinaryOp::name>; \
    return
  switch (op) {
    MLC_REDUCE(kAdd);
    MLC_REDUCE(kMin);
    MLC_REDUCE(kMax);
    MLC_CASE(kSub);
    MLC_CASE(kMul);
    MLC_CASE(kDiv);
    MLC_CASE(kFloorDiv);
    MLC_CASE(kMod);
    MLC_CASE(kAnd);
    MLC_CASE(kOr);
    MLC_CASE(kXor);
    MLC_CASE(kShl);
    MLC_CASE(kShr);
    MLC_CASE(kEq);
    MLC_CASE(kNe);
    MLC_CASE(kLt);
    MLC_CASE(kLe);
    MLC_CASE(kGt);
    MLC_CASE(kGe);
  }
#undef MLC_CASE
#undef MLC_REDUCE
}

template <typename T, UnaryOp op>
void run_unary(const Node& n, Frame& f) {
  const T* a = operand<T>(n, 0, f);
  T* out = result<T>(n, f);
  for (int i = 0; i < n.lanes; ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      if constexpr (op == UnaryOp::kNeg)
        out[i] = -a[i];
      else if constexpr (op == UnaryOp::kAbs)
        out[i] = std::fabs(a[i]);
      else if constexpr (op == UnaryOp::kSqrt)
        out[i] = std::sqrt(a[i]);
      else if constexpr (op == UnaryOp::kFloor)
        out[i] = std::floor(a[i]);
      else if constexpr (op == UnaryOp::kRoundEven)
        out[i] = std::nearbyint(a[i]);
      else
        internal_error("kernel interpreter: 'not' of a float");
    } else {
      if constexpr (op == UnaryOp::kNeg)
        out[i] = static_cast<T>(uint64_t{0} - static_cast<uint64_t>(a[i]));
      else if constexpr (op == UnaryOp::kAbs)
        out[i] = a[i] < 0 ? static_cast<T>(0 - static_cast<uint64_t>(a[i])) : a[i];
      else if constexpr (op == UnaryOp::kNot)
        out[i] = static_cast<T>(~a[i]);
      else
        internal_error("kernel interpreter: float operation on integers");
    }
  }
}

void run_not_bool(const Node& n, Frame& f) {
  const uint8_t* a = operand<uint8_t>(n, 0, f);
  uint8_t* out = result<uint8_t>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = !a[i];
}

template <typename T>
void choose_unary(UnaryOp op, Node& node) {
  switch (op) {
    case UnaryOp::kNeg: node.run = run_unary<T, UnaryOp::kNeg>; return;
    case UnaryOp::kAbs: node.run = run_unary<T, UnaryOp::kAbs>; return;
    case UnaryOp::kSqrt: node.run = run_unary<T, UnaryOp::kSqrt>; return;
    case UnaryOp::kFloor: node.run = run_unary<T, UnaryOp::kFloor>; return;
    case UnaryOp::kRoundEven: node.run = run_unary<T, UnaryOp::kRoundEven>; return;
    case UnaryOp::kNot: node.run = run_unary<T, UnaryOp::kNot>; return;
  }
}

template <typename From, typename To>
To convert(From v) {
  if constexpr (kHalf<From>) {
    return convert<float, To>(static_cast<float>(v));
  } else if constexpr (kHalf<To>) {
    return To::from(static_cast<float>(v));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    double t = std::trunc(static_cast<double>(v));
    double low = static_cast<double>(std::numeric_limits<To>::min());
    double high = std::ldexp(1.0, static_cast<int>(sizeof(To) * 8 - std::is_signed_v<To>));
    internal_check(t >= low && t < high, "kernel interpreter: float to integer cast out of range");
    return static_cast<To>(t);
  } else {
    return static_cast<To>(v);
  }
}

template <typename From, typename To>
void run_cast(const Node& n, Frame& f) {
  const From* a = operand<From>(n, 0, f);
  To* out = result<To>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = convert<From, To>(a[i]);
}

template <typename T>
void run_select(const Node& n, Frame& f) {
  const uint8_t* c = operand<uint8_t>(n, 0, f);
  const T* a = operand<T>(n, 1, f);
  const T* b = operand<T>(n, 2, f);
  T* out = result<T>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = c[i] ? a[i] : b[i];
}

template <typename T>
void run_fma(const Node& n, Frame& f) {
  const T* a = operand<T>(n, 0, f);
  const T* b = operand<T>(n, 1, f);
  const T* c = operand<T>(n, 2, f);
  T* out = result<T>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = std::fma(a[i], b[i], c[i]);
}

template <typename A>
void run_dot4(const Node& n, Frame& f) {
  const A* a = operand<A>(n, 0, f);
  const int8_t* b = operand<int8_t>(n, 1, f);
  const int32_t* c = operand<int32_t>(n, 2, f);
  int32_t* out = result<int32_t>(n, f);
  for (int i = 0; i < n.lanes; ++i) {
    uint32_t sum = static_cast<uint32_t>(c[i]);
    for (int j = 0; j < 4; ++j) sum += static_cast<uint32_t>(int32_t{a[4 * i + j]} * int32_t{b[4 * i + j]});
    out[i] = static_cast<int32_t>(sum);
  }
}

void run_dot2_u8s8(const Node& n, Frame& f) {
  const uint8_t* a = operand<uint8_t>(n, 0, f);
  const int8_t* b = operand<int8_t>(n, 1, f);
  int16_t* out = result<int16_t>(n, f);
  for (int i = 0; i < n.lanes; ++i) {
    int sum = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    internal_check(sum >= -32768 && sum <= 32767, "kernel interpreter: dot2_u8s8 exceeds i16");
    out[i] = static_cast<int16_t>(sum);
  }
}

void run_dot2_i16(const Node& n, Frame& f) {
  const int16_t* a = operand<int16_t>(n, 0, f);
  const int16_t* b = operand<int16_t>(n, 1, f);
  int32_t* out = result<int32_t>(n, f);
  for (int i = 0; i < n.lanes; ++i) {
    int64_t sum = int64_t{a[2 * i]} * b[2 * i] + int64_t{a[2 * i + 1]} * b[2 * i + 1];
    out[i] = static_cast<int32_t>(static_cast<uint32_t>(sum));
  }
}

template <double (*fn)(double)>
void run_math(const Node& n, Frame& f) {
  const float* a = operand<float>(n, 0, f);
  float* out = result<float>(n, f);
  for (int i = 0; i < n.lanes; ++i) out[i] = static_cast<float>(fn(static_cast<double>(a[i])));
}

double rsqrt(double x) { return 1.0 / std::sqrt(x); }
double reciprocal(double x) { return 1.0 / x; }

void choose_math(MathFn fn, Node& node) {
  switch (fn) {
    case MathFn::kExp: node.run = run_math<std::exp>; return;
    case MathFn::kTanh: node.run = run_math<std::tanh>; return;
    case MathFn::kErf: node.run = run_math<std::erf>; return;
    case MathFn::kLog: node.run = run_math<std::log>; return;
    case MathFn::kRsqrt: node.run = run_math<rsqrt>; return;
    case MathFn::kReciprocal: node.run = run_math<reciprocal>; return;
  }
}

void choose_cast(DType from, DType to, Node& node) {
  with_type(from,
            [&](auto a) { with_type(to, [&](auto b) { node.run = run_cast<decltype(a), decltype(b)>; }); });
}

}  // namespace

void choose_arithmetic(const Expr& expr, Node& node) {
  DType operand_type = expr.operands[0]->type.dtype;
  switch (expr.kind) {
    case ExprKind::kUnary:
      if (operand_type == DType::kBool) {
        node.run = run_not_bool;
        return;
      }
      with_type(operand_type, [&](auto t) {
        if constexpr (!kHalf<decltype(t)>) choose_unary<decltype(t)>(expr.unary, node);
      });
      break;
    case ExprKind::kBinary:
    case ExprKind::kReduce:
      node.immediate = expr.operands[0]->type.lanes;
      with_type(operand_type, [&](auto t) {
        if constexpr (!kHalf<decltype(t)>)
          choose_binary<decltype(t)>(expr.binary, expr.kind == ExprKind::kReduce, node);
      });
      break;
    case ExprKind::kSelect:
      with_type(expr.type.dtype, [&](auto t) { node.run = run_select<decltype(t)>; });
      break;
    case ExprKind::kCast: choose_cast(operand_type, expr.type.dtype, node); break;
    case ExprKind::kFma: node.run = expr.type.dtype == DType::kF64 ? run_fma<double> : run_fma<float>; break;
    case ExprKind::kDot4: node.run = operand_type == DType::kU8 ? run_dot4<uint8_t> : run_dot4<int8_t>; break;
    case ExprKind::kDot2U8S8: node.run = run_dot2_u8s8; break;
    case ExprKind::kDot2I16: node.run = run_dot2_i16; break;
    case ExprKind::kCall: choose_math(expr.math, node); break;
    default: internal_error("kernel interpreter: expression kind without arithmetic");
  }
  internal_check(node.run != nullptr, "kernel interpreter: no arithmetic on ", expr.operands[0]->type.text());
}

}  // namespace mlc::kernel
