// The verifier of kernel IR.
#include "kernel/verify.h"

#include <algorithm>
#include <bit>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "kernel/verify_rule.h"

namespace mlc::kernel {
namespace {

bool is_index(const Type& t) { return t == Type{DType::kI64, 1} || t == Type{DType::kI32, 1}; }

// What lanes of a subgroup may exchange.
bool is_lane_value(const Type& t) {
  return t.lanes <= 4 && (t.dtype == DType::kF32 || t.dtype == DType::kI32 || t.dtype == DType::kU32);
}

bool is_small_float(DType t) { return is_float(t) && t != DType::kF32 && t != DType::kF64; }

class Verifier {
 public:
  explicit Verifier(const Function& f) : function_(f) {}

  void run() {
    std::set<std::string> names;
    for (const BufferRef& b : function_.buffers) {
      require(names.insert(b->name).second, "buffer ", b->name, " is declared twice");
      require(b->scope == Scope::kGlobal && (b->element.lanes == 1 || thread_count(function_) > 0), "buffer ",
              b->name, " is no global of scalars");
      check_lanes(b->element);
      for (const std::string& s : b->size.symbols()) check_dim(s);
      buffers_.insert(b.get());
    }
    for (const std::string& s : function_.tiles.symbols()) check_dim(s);
    int grids = 0;
    for (const StmtRef& s : function_.body) grids += s->kind == StmtKind::kFor && s->loop == LoopKind::kGrid;
    require(grids == 1, "there are ", grids, " grid loops at the top, expected one");
    block(function_.body, 0);
    std::string problem = verify_threads(function_);
    require(problem.empty(), problem);
  }

 private:
  void check_dim(const std::string& name) {
    require(std::find(function_.dims.begin(), function_.dims.end(), name) != function_.dims.end(),
            "dimension ", name, " is not in dims(...)");
  }

  void block(const std::vector<StmtRef>& list, int depth) {
    std::vector<std::string> defined;
    std::vector<const Buffer*> allocated;
    for (const StmtRef& s : list) {
      try {
        statement(*s, depth);
      } catch (Problem& p) {
        if (p.text.find("; in ") == std::string::npos) p.text += describe(*s);
        throw;
      }
      if (s->kind == StmtKind::kLet) {
        define(s->name, s->value->type);
        defined.push_back(s->name);
      }
      if (s->kind == StmtKind::kAlloc) {
        buffers_.insert(s->buffer.get());
        allocated.push_back(s->buffer.get());
      }
    }
    for (const std::string& name : defined) scope_.erase(name);
    for (const Buffer* b : allocated) buffers_.erase(b);
  }

  static std::string describe(const Stmt& s) {
    if (s.kind == StmtKind::kLet) return str("; in let %", s.name, " = ", print(*s.value));
    if (s.buffer && s.index) return str("; in an access of %", s.buffer->name, "[", print(*s.index), "]");
    return s.name.empty() ? "" : str("; in the loop %", s.name);
  }

  void define(const std::string& name, Type type) {
    require(ever_.insert(name).second, "name %", name, " is defined twice");
    scope_[name] = type;
  }

  void statement(const Stmt& s, int depth) {
    switch (s.kind) {
      case StmtKind::kLet: expr(s.value); break;
      case StmtKind::kStore: store(s); break;
      case StmtKind::kScatter: scatter(s); break;
      case StmtKind::kFor: loop(s, depth); break;
      case StmtKind::kIf:
        require(expr(s.value) == Type{DType::kBool, 1}, "a condition is no single bool");
        block(s.body, depth + 1);
        block(s.otherwise, depth + 1);
        break;
      case StmtKind::kBlock: block(s.body, depth + 1); break;
      case StmtKind::kAlloc:
        require(s.buffer->size.is_const() && s.buffer->scope != Scope::kGlobal,
                "an allocation needs a constant size");
        if (s.buffer->scope == Scope::kFragment) fragment_declaration(*s.buffer);
        check_lanes(s.buffer->element);
        break;
      case StmtKind::kPrefetch:
        buffer(*s.buffer);
        require(is_index(expr(s.index)), "a prefetch needs an integer index");
        break;
      case StmtKind::kBarrier: break;
      case StmtKind::kMatrix: matrix(s); break;
    }
  }

  static void fragment_declaration(const Buffer& b) {
    const Fragment& f = b.fragment;
    bool sum = f.role == Fragment::Role::kSum;
    require(b.element == Type{DType::kF32, 1}
                ? sum
                : !sum && (b.element == Type{DType::kF16, 1} || b.element == Type{DType::kBF16, 1}),
            "fragments %", b.name, " of ", b.element, ", expected ", sum ? "f32" : "f16 or bf16");
    require(f.rows >= 1 && f.columns >= 1 && f.rows <= 64 && f.columns <= 64 && f.columns % 2 == 0 &&
                f.rows % 2 == 0,
            "fragments %", b.name, " of ", f.rows, " by ", f.columns, ", expected even sizes up to 64");
  }

  const Fragment& fragment(const BufferRef& b, int64_t index, std::initializer_list<Fragment::Role> roles) {
    buffer(*b);
    require(b->scope == Scope::kFragment, "%", b->name, " holds no fragments");
    require(std::find(roles.begin(), roles.end(), b->fragment.role) != roles.end(), "fragment %", b->name,
            " has another role");
    require(index >= 0 && index < b->size.constant(), "fragment ", index, " of %", b->name);
    return b->fragment;
  }

  void matrix(const Stmt& s) {
    using Role = Fragment::Role;
    require(s.index->kind == ExprKind::kIntConst, "an index of the fragments %", s.buffer->name,
            " is not constant");
    if (s.matrix == MatrixOp::kMultiply) {
      const Fragment& sum = fragment(s.buffer, s.index->int_value, {Role::kSum});
      const Fragment& a = fragment(s.factors[0].buffer, s.factors[0].index, {Role::kA});
      const Fragment& b = fragment(s.factors[1].buffer, s.factors[1].index, {Role::kB});
      require(a.rows == sum.rows && b.columns == sum.columns && a.columns == b.rows, "fragments of ", a.rows,
              " by ", a.columns, " and ", b.rows, " by ", b.columns, " have no product of ", sum.rows, " by ",
              sum.columns);
      return;
    }
    if (s.matrix == MatrixOp::kClear) return (void)fragment(s.buffer, s.index->int_value, {Role::kSum});
    bool load = s.matrix == MatrixOp::kLoad;
    const Fragment& f = load ? fragment(s.buffer, s.index->int_value, {Role::kA, Role::kB, Role::kSum})
                             : fragment(s.buffer, s.index->int_value, {Role::kSum});
    buffer(*s.memory);
    // Of halves two lie in a word of memory; other elements are the memory's own.
    bool halves = s.buffer->element.dtype == DType::kF16, anywhere = s.buffer->element.dtype == DType::kBF16;
    DType element = halves ? DType::kU32 : s.buffer->element.dtype;
    require((anywhere || s.memory->scope == Scope::kShared) && s.memory->element.dtype == element,
            "a fragment's memory %", s.memory->name, " is no ", anywhere ? "" : "shared ", Type{element, 1});
    require(is_index(expr(s.begin)), "a fragment's place in %", s.memory->name, " is no index");
    require(s.order != MatrixOrder::kPairs || f.role == Role::kB, "pairs of rows of %", s.buffer->name);
    int64_t length = s.order == MatrixOrder::kColumns ? f.rows
                     : s.order == MatrixOrder::kPairs ? 2 * f.columns
                                                      : f.columns;
    int64_t line = length / (halves ? 2 : 1);
    require(line % s.memory->element.lanes == 0 && s.stride * s.memory->element.lanes >= line, "lines of ",
            line, " elements, ", s.stride, " apart, in %", s.memory->name);
  }

  void loop(const Stmt& s, int depth) {
    require((s.loop == LoopKind::kGrid) == (depth == 0 && s.loop == LoopKind::kGrid),
            "a grid loop is not outermost");
    Type index = expr(s.begin);
    require(is_index(index) && expr(s.extent) == index, "loop %", s.name,
            " has bounds that are no integers of one type");
    if (s.loop == LoopKind::kUnrolled) {
      require(s.begin->kind == ExprKind::kIntConst && s.extent->kind == ExprKind::kIntConst,
              "unrolled loop %", s.name, " has no constant bounds");
      constants_.insert(s.name);
    }
    define(s.name, index);
    block(s.body, depth + 1);
    scope_.erase(s.name);
  }

  void buffer(const Buffer& b) { require(buffers_.count(&b) == 1, "buffer %", b.name, " is not in scope"); }

  // An index that is constant once unrolled loops are.
  bool constant(const Expr& e) {
    if (e.kind == ExprKind::kVar) return constants_.count(e.name) == 1;
    if (e.kind != ExprKind::kIntConst && e.kind != ExprKind::kBinary) return false;
    return std::all_of(e.operands.begin(), e.operands.end(), [&](const ExprRef& o) { return constant(*o); });
  }

  void access(const Buffer& b, const Type& value, const ExprRef& index, const ExprRef& mask) {
    buffer(b);
    require(is_index(expr(index)), "an index of %", b.name, " is no i64 or i32");
    if (b.element.lanes > 1 && b.scope != Scope::kRegister)
      require(value == b.element && !mask, "an access of ", value, " to vectors of ", b.element);
    if (b.scope == Scope::kRegister) {
      require(value == b.element, "an access of ", value, " to registers of ", b.element);
      require(constant(*index), "an index of the registers %", b.name, " is not constant");
      require(!mask, "a masked access to registers");
      return;
    }
    bool bytes = b.element.dtype == DType::kU8 && value.dtype != DType::kBool;
    require(bytes || value.dtype == b.element.dtype, "an access of ", value, " to elements of ", b.element);
    check_mask(mask, value.lanes);
  }

  void check_mask(const ExprRef& mask, int lanes) {
    if (mask)
      require(lanes > 1 && expr(mask) == Type{DType::kBool, lanes}, "a mask is no bool of ", lanes, " lanes");
  }

  void store(const Stmt& s) {
    require(s.buffer->writable || s.buffer->scope != Scope::kGlobal, "a store to the input %",
            s.buffer->name);
    access(*s.buffer, expr(s.value), s.index, s.mask);
  }

  void scatter(const Stmt& s) {
    require(s.buffer->writable, "a scatter to the input %", s.buffer->name);
    buffer(*s.buffer);
    Type value = expr(s.value), index = expr(s.index);
    require(value.dtype == s.buffer->element.dtype && index.lanes == value.lanes, "a scatter of ", value);
    check_mask(s.mask, value.lanes);
  }

  void check_lanes(const Type& t) {
    require(t.lanes >= 1 && t.lanes <= 256 && std::has_single_bit(static_cast<unsigned>(t.lanes)), t.lanes,
            " lanes are no power of two up to 256");
  }

  const Type& expr(const ExprRef& e) {
    require(e != nullptr, "an expression is missing");
    check_lanes(e->type);
    const size_t first = operand_types_.size();
    if (e->kind != ExprKind::kLoad && e->kind != ExprKind::kGather)
      for (const ExprRef& o : e->operands) operand_types_.push_back(expr(o));
    check(*e, std::span(operand_types_).subspan(first));
    operand_types_.resize(first);
    return e->type;
  }

  void arity(const Expr& e, size_t count) {
    require(e.operands.size() == count, e, " has ", e.operands.size(), " operands, expected ", count);
  }

  void check(const Expr& e, std::span<const Type> t) {
    auto typed = [&](bool holds) { require(holds, "operand types do not fit ", e, ": ", e.type); };
    switch (e.kind) {
      case ExprKind::kIntConst: return typed(!is_float(e.type.dtype));
      case ExprKind::kFloatConst: return typed(is_float(e.type.dtype));
      case ExprKind::kVar: {
        auto it = scope_.find(e.name);
        require(it != scope_.end(), "%", e.name, " is used where it is not defined");
        return typed(it->second == e.type);
      }
      case ExprKind::kDim: check_dim(e.name); return typed(is_index(e.type));
      case ExprKind::kLoad:
        return access(*e.buffer, e.type, e.operands.at(0), e.operands.size() > 1 ? e.operands[1] : nullptr);
      case ExprKind::kGather: return gather(e);
      case ExprKind::kUnary: arity(e, 1); return typed(t[0] == e.type && !is_small_float(e.type.dtype));
      case ExprKind::kBinary: return binary(e, t);
      case ExprKind::kSelect:
        arity(e, 3);
        return typed(t[0] == Type{DType::kBool, e.type.lanes} && t[1] == e.type && t[2] == e.type);
      case ExprKind::kCast: {
        arity(e, 1);
        bool double_rounding = t[0].dtype == DType::kF64 && is_small_float(e.type.dtype);
        return typed(t[0].lanes == e.type.lanes && !double_rounding);
      }
      case ExprKind::kBitcast:
        arity(e, 1);
        return typed(t[0].lanes * size_of(t[0].dtype) == e.type.lanes * size_of(e.type.dtype));
      case ExprKind::kBroadcast: arity(e, 1); return typed(t[0] == e.type.with_lanes(1));
      case ExprKind::kRamp: arity(e, 1); return typed(t[0] == e.type.with_lanes(1) && is_int(e.type.dtype));
      case ExprKind::kShuffle: return check_shuffle(e, t);
      case ExprKind::kFma:
        arity(e, 3);
        return typed(t[0] == e.type && t[1] == e.type && t[2] == e.type && is_float(e.type.dtype) &&
                     !is_small_float(e.type.dtype));
      case ExprKind::kDot4:
      case ExprKind::kDot2U8S8:
      case ExprKind::kDot2I16: return dot(e, t);
      case ExprKind::kReduce: {
        arity(e, 1);
        bool known = e.binary == BinaryOp::kAdd || e.binary == BinaryOp::kMin || e.binary == BinaryOp::kMax;
        return typed(known && e.type == t[0].with_lanes(1) && !is_small_float(e.type.dtype));
      }
      case ExprKind::kCall: arity(e, 1); return typed(t[0] == e.type && e.type.dtype == DType::kF32);
      case ExprKind::kUnpackHalf:
        arity(e, 1);
        return typed(t[0] == Type{DType::kU32, 1} && e.type == Type{DType::kF32, 2});
      case ExprKind::kPackHalf:
        arity(e, 1);
        return typed(t[0] == Type{DType::kF32, 2} && e.type == Type{DType::kU32, 1});
      case ExprKind::kHalfFma:
        arity(e, 3);
        return typed(t[0] == e.type && t[1] == e.type && t[2] == e.type && e.type == Type{DType::kU32, 1});
      case ExprKind::kSubgroup:
      case ExprKind::kSubgroupXor:
      case ExprKind::kSubgroupBroadcast: arity(e, 1); return typed(t[0] == e.type && is_lane_value(e.type));
    }
  }

  void gather(const Expr& e) {
    buffer(*e.buffer);
    require(e.buffer->scope != Scope::kRegister, "a gather from registers");
    Type index = expr(e.operands.at(0));
    bool integer = index.dtype == DType::kI64 || index.dtype == DType::kI32;
    require(integer && index.lanes == e.type.lanes && e.type.dtype == e.buffer->element.dtype, "a gather of ",
            e.type, " with indices of ", index);
    check_mask(e.operands.size() > 1 ? e.operands[1] : nullptr, e.type.lanes);
  }

  void binary(const Expr& e, std::span<const Type> t) {
    arity(e, 2);
    Type wanted = e.binary >= BinaryOp::kEq ? t[0].with_dtype(DType::kBool) : t[0];
    require(t[0] == t[1] && e.type == wanted && !is_small_float(t[0].dtype), "operand types do not fit ", e,
            ": ", e.type);
  }

  void check_shuffle(const Expr& e, std::span<const Type> t) {
    int lanes = 0;
    for (const Type& operand : t) {
      require(operand.dtype == e.type.dtype, "a shuffle mixes element types in ", e);
      lanes += operand.lanes;
    }
    require(static_cast<int>(e.pattern.size()) == e.type.lanes, "a shuffle's pattern has the wrong length");
    for (int lane : e.pattern)
      require(lane >= 0 && lane < lanes, "a shuffle takes lane ", lane, " of ", lanes);
  }

  void dot(const Expr& e, std::span<const Type> t) {
    bool four = e.kind == ExprKind::kDot4;
    arity(e, four ? 3 : 2);
    int width = four ? 4 : 2;
    DType b = e.kind == ExprKind::kDot2I16 ? DType::kI16 : DType::kI8;
    bool a_fits =
        t[0].dtype == b ? e.kind != ExprKind::kDot2U8S8 : (t[0].dtype == DType::kU8 && b == DType::kI8);
    DType result = e.kind == ExprKind::kDot2U8S8 ? DType::kI16 : DType::kI32;
    bool lanes = t[0].lanes == e.type.lanes * width && t[1].lanes == t[0].lanes && (!four || t[2] == e.type);
    require(a_fits && t[1].dtype == b && e.type.dtype == result && lanes, "operand types do not fit ", e);
  }

  const Function& function_;
  std::unordered_set<const Buffer*> buffers_;
  std::unordered_map<std::string, Type> scope_;
  std::unordered_set<std::string> ever_;
  std::set<std::string> constants_;
  std::vector<Type> operand_types_;  // of the expressions that are being looked at, the innermost last
};

}  // namespace

std::string verify(const Function& function) {
  try {
    Verifier(function).run();
  } catch (const Problem& problem) {
    return problem.text;
  }
  return "";
}

}  // namespace mlc::kernel
