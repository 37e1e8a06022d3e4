// Prints kernel IR.
#include "kernel/print.h"

#include <charconv>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {

const char* infix_text(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd: return "+";
    case BinaryOp::kSub: return "-";
    case BinaryOp::kMul: return "*";
    case BinaryOp::kDiv: return "/";
    case BinaryOp::kFloorDiv: return "//";
    case BinaryOp::kMod: return "%";
    case BinaryOp::kAnd: return "&";
    case BinaryOp::kOr: return "|";
    case BinaryOp::kXor: return "^";
    case BinaryOp::kShl: return "<<";
    case BinaryOp::kShr: return ">>";
    case BinaryOp::kEq: return "==";
    case BinaryOp::kNe: return "!=";
    case BinaryOp::kLt: return "<";
    case BinaryOp::kLe: return "<=";
    case BinaryOp::kGt: return ">";
    case BinaryOp::kGe: return ">=";
    case BinaryOp::kMin:
    case BinaryOp::kMax: return nullptr;
  }
  return nullptr;
}

const char* function_text(BinaryOp op) {
  return op == BinaryOp::kMin ? "min" : op == BinaryOp::kMax ? "max" : nullptr;
}

const char* unary_text(UnaryOp op) {
  switch (op) {
    case UnaryOp::kNeg: return "neg";
    case UnaryOp::kAbs: return "abs";
    case UnaryOp::kSqrt: return "sqrt";
    case UnaryOp::kFloor: return "floor";
    case UnaryOp::kRoundEven: return "round_even";
    case UnaryOp::kNot: return "not";
  }
  return nullptr;
}

const char* math_text(MathFn fn) {
  switch (fn) {
    case MathFn::kExp: return "exp";
    case MathFn::kTanh: return "tanh";
    case MathFn::kErf: return "erf";
    case MathFn::kLog: return "log";
    case MathFn::kRsqrt: return "rsqrt";
    case MathFn::kReciprocal: return "reciprocal";
  }
  return nullptr;
}

const char* role_text(Fragment::Role role) {
  switch (role) {
    case Fragment::Role::kA: return "a";
    case Fragment::Role::kB: return "b";
    case Fragment::Role::kSum: return "sum";
  }
  return nullptr;
}

const char* order_text(MatrixOrder order) {
  switch (order) {
    case MatrixOrder::kRows: return "rows";
    case MatrixOrder::kColumns: return "columns";
    case MatrixOrder::kPairs: return "pairs";
  }
  return nullptr;
}

const char* loop_text(LoopKind kind) {
  switch (kind) {
    case LoopKind::kSerial: return "serial";
    case LoopKind::kUnrolled: return "unrolled";
    case LoopKind::kGrid: return "grid";
    case LoopKind::kThread: return "thread";
  }
  return nullptr;
}

namespace {

std::string number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[40];
  auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  internal_check(error == std::errc(), "a number without text");
  return std::string(text, end);
}

std::string list(const std::vector<ExprRef>& operands) {
  std::vector<std::string> parts;
  for (const ExprRef& o : operands) parts.push_back(print(*o));
  return join(parts, ", ");
}

const char* reduction_text(BinaryOp op) {
  const char* name = op == BinaryOp::kAdd ? "add" : function_text(op);
  return name ? name : "?";
}

std::string shuffle_text(const Expr& e) {
  std::vector<std::string> lanes;
  for (int lane : e.pattern) lanes.push_back(std::to_string(lane));
  return str("shuffle(", list(e.operands), ")[", join(lanes, ", "), "]");
}

std::string load_text(const Expr& e) {
  std::string text = str("%", e.buffer->name, "[", list(e.operands), "]");
  return e.type == e.buffer->element ? text : str(text, ":", e.type.text());
}

std::string binary_text(const Expr& e) {
  if (const char* name = function_text(e.binary)) return str(name, "(", list(e.operands), ")");
  return str("(", print(*e.operands[0]), " ", infix_text(e.binary), " ", print(*e.operands[1]), ")");
}

// "a f16 16x8", what a fragment's declaration says.
std::string fragment_text(const Buffer& b) {
  return str(role_text(b.fragment.role), " ", b.element.text(), " ", b.fragment.rows, " by ",
             b.fragment.columns);
}

std::string fragment_text(const FragmentRef& f) { return str("%", f.buffer->name, "[", f.index, "]"); }

std::string matrix_text(const Stmt& s) {
  std::string f = str("%", s.buffer->name, "[", print(*s.index), "]");
  auto memory = [&] {
    return str("%", s.memory->name, "[", print(*s.begin), "] ", order_text(s.order), " ", s.stride);
  };
  switch (s.matrix) {
    case MatrixOp::kClear: return "clear " + f;
    case MatrixOp::kLoad: return str("load ", f, " from ", memory());
    case MatrixOp::kStore: return str("store ", f, " to ", memory());
    case MatrixOp::kMultiply:
      return str("add ", f, " ", fragment_text(s.factors[0]), " by ", fragment_text(s.factors[1]));
  }
  return "";
}

class Printer {
 public:
  std::string function(const Function& f) {
    std::vector<std::string> buffers;
    for (const BufferRef& b : f.buffers)
      buffers.push_back(
          str("%", b->name, ": ", b->writable ? "out " : "", b->element.text(), "[", b->size.text(), "]"));
    out_ << "kernel @" << f.name << "(" << join(buffers, ", ") << ") dims(" << join(f.dims, ", ")
         << ") tiles(" << f.tiles.text() << ") scratch(" << f.scratch_bytes << ")"
         << (f.in_place ? " in_place" : "");
    if (f.subgroup_size) out_ << " subgroups(" << f.subgroup_size << ")";
    out_ << " {\n";
    body(f.body);
    out_ << "}\n";
    return out_.str();
  }

 private:
  void body(const std::vector<StmtRef>& list) {
    indent_ += 2;
    for (const StmtRef& s : list) {
      out_ << std::string(static_cast<size_t>(indent_), ' ');
      statement(*s);
    }
    indent_ -= 2;
  }

  void block(const std::vector<StmtRef>& list) {
    out_ << "{\n";
    body(list);
    out_ << std::string(static_cast<size_t>(indent_), ' ') << "}";
  }

  void statement(const Stmt& s) {
    std::string mask = s.mask ? ", " + print(*s.mask) : "";
    switch (s.kind) {
      case StmtKind::kLet: out_ << "let %" << s.name << " = " << print(*s.value); break;
      case StmtKind::kStore:
        out_ << "%" << s.buffer->name << "[" << print(*s.index) << mask << "] = " << print(*s.value);
        break;
      case StmtKind::kScatter:
        out_ << "scatter %" << s.buffer->name << "[" << print(*s.index) << mask << "] = " << print(*s.value);
        break;
      case StmtKind::kFor:
        out_ << loop_text(s.loop) << " %" << s.name << " = " << print(*s.begin) << ", " << print(*s.extent)
             << " ";
        block(s.body);
        break;
      case StmtKind::kIf:
        out_ << "if " << print(*s.value) << " ";
        block(s.body);
        if (s.otherwise.empty()) break;
        out_ << " else ";
        block(s.otherwise);
        break;
      case StmtKind::kBlock: block(s.body); break;
      case StmtKind::kMatrix: out_ << "matrix " << matrix_text(s); break;
      case StmtKind::kAlloc:
        if (s.buffer->scope == Scope::kFragment) {
          out_ << "fragments %" << s.buffer->name << ": " << fragment_text(*s.buffer) << "["
               << s.buffer->size.text() << "]";
          break;
        }
        out_ << (s.buffer->scope == Scope::kShared ? "shared" : "registers") << " %" << s.buffer->name << ": "
             << s.buffer->element.text() << "[" << s.buffer->size.text() << "]";
        break;
      case StmtKind::kBarrier: out_ << "barrier"; break;
      case StmtKind::kPrefetch:
        out_ << "prefetch %" << s.buffer->name << "[" << print(*s.index) << "] " << s.locality;
        break;
    }
    out_ << "\n";
  }

  std::ostringstream out_;
  int indent_ = 0;
};

}  // namespace

std::string print(const Expr& e) {
  switch (e.kind) {
    case ExprKind::kIntConst:
      return e.type == Type{DType::kI64, 1} ? std::to_string(e.int_value)
                                            : str(e.int_value, ":", e.type.text());
    case ExprKind::kFloatConst: return str(number(e.float_value), ":", e.type.text());
    case ExprKind::kVar: return "%" + e.name;
    case ExprKind::kDim:
      return e.type == Type{DType::kI64, 1} ? "$" + e.name : str("$", e.name, ":", e.type.text());
    case ExprKind::kLoad: return load_text(e);
    case ExprKind::kGather: return str("gather(%", e.buffer->name, ", ", list(e.operands), ")");
    case ExprKind::kUnary: return str(unary_text(e.unary), "(", list(e.operands), ")");
    case ExprKind::kBinary: return binary_text(e);
    case ExprKind::kSelect: return str("select(", list(e.operands), ")");
    case ExprKind::kCast: return str("cast(", list(e.operands), "):", e.type.text());
    case ExprKind::kBitcast: return str("bitcast(", list(e.operands), "):", e.type.text());
    case ExprKind::kBroadcast: return str("broadcast(", list(e.operands), "):", e.type.text());
    case ExprKind::kRamp: return str("ramp(", list(e.operands), ", ", e.int_value, "):", e.type.text());
    case ExprKind::kShuffle: return shuffle_text(e);
    case ExprKind::kFma: return str("fma(", list(e.operands), ")");
    case ExprKind::kDot4: return str("dot4(", list(e.operands), ")");
    case ExprKind::kDot2U8S8: return str("dot2_u8s8(", list(e.operands), ")");
    case ExprKind::kDot2I16: return str("dot2_i16(", list(e.operands), ")");
    case ExprKind::kReduce: return str("reduce_", reduction_text(e.binary), "(", list(e.operands), ")");
    case ExprKind::kCall: return str(math_text(e.math), "(", list(e.operands), ")");
    case ExprKind::kUnpackHalf: return str("unpack_half(", list(e.operands), ")");
    case ExprKind::kPackHalf: return str("pack_half(", list(e.operands), ")");
    case ExprKind::kHalfFma: return str("half_fma(", list(e.operands), ")");
    case ExprKind::kSubgroup: return str("subgroup_", reduction_text(e.binary), "(", list(e.operands), ")");
    case ExprKind::kSubgroupXor: return str("subgroup_xor(", list(e.operands), ", ", e.int_value, ")");
    case ExprKind::kSubgroupBroadcast:
      return str("subgroup_broadcast(", list(e.operands), ", ", e.int_value, ")");
  }
  internal_error("an expression without text");
}

std::string print(const Function& function) { return Printer().function(function); }

}  // namespace mlc::kernel
