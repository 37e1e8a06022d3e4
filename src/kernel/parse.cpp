// A recursive descent parser over the text form.
#include "kernel/parse.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/strings.h"
#include "base/user_error.h"
#include "kernel/print.h"

namespace mlc::kernel {
namespace {

constexpr int kMaxDepth = 200;
const Type kIndex{DType::kI64, 1};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Function function() {
    Function f;
    expect("kernel");
    expect("@");
    f.name = word();
    expect("(");
    while (!take(")")) {
      f.buffers.push_back(parameter());
      if (!peek(")")) expect(",");
    }
    expect("dims");
    expect("(");
    while (!take(")")) {
      f.dims.push_back(word());
      if (!peek(")")) expect(",");
    }
    expect("tiles");
    f.tiles = dim('(', ')');
    expect("scratch");
    expect("(");
    f.scratch_bytes = integer();
    expect(")");
    f.in_place = take("in_place");
    if (take("subgroups")) {
      expect("(");
      f.subgroup_size = static_cast<int>(integer());
      expect(")");
    }
    f.body = block();
    skip_space();
    if (at_ < text_.size()) fail("the end");
    return f;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) {
    int line = 1;
    for (size_t i = 0; i < at_; ++i) line += text_[i] == '\n';
    std::string_view rest = text_.substr(at_, std::min<size_t>(20, text_.size() - at_));
    throw UserError(str("kernel text line ", line, ": found '", rest.substr(0, rest.find('\n')),
                        "', expected ", expected));
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  static bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  bool peek(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token) return false;
    size_t end = at_ + token.size();
    return !(in_word(token.back()) && end < text_.size() && in_word(text_[end]));
  }
  bool take(std::string_view token) {
    if (!peek(token)) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) fail(str("'", token, "'"));
  }

  std::string word() {
    skip_space();
    size_t begin = at_;
    while (at_ < text_.size() && (in_word(text_[at_]) || text_[at_] == '.')) ++at_;
    if (at_ == begin) fail("a name");
    return std::string(text_.substr(begin, at_ - begin));
  }

  int64_t integer() {
    skip_space();
    int64_t value = 0;
    auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("an integer");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  // The text between balanced brackets, as a dimension.
  Dim dim(char open, char close) {
    expect(std::string(1, open));
    size_t begin = at_;
    for (int depth = 1; at_ < text_.size(); ++at_) {
      if (text_[at_] == open) ++depth;
      if (text_[at_] == close && --depth == 0) break;
    }
    auto parsed = Dim::parse(text_.substr(begin, at_ - begin));
    if (!parsed) {
      at_ = begin;
      fail("a dimension");
    }
    expect(std::string(1, close));
    return *parsed;
  }

  Type type() {
    skip_space();
    size_t begin = at_;
    std::string name = word();
    size_t x = name.rfind('x');
    int lanes = 1;
    if (x != std::string::npos) {
      std::from_chars(name.data() + x + 1, name.data() + name.size(), lanes);
      name.resize(x);
    }
    auto dtype = parse_dtype(name);
    if (!dtype || lanes < 1) {
      at_ = begin;
      fail("a type");
    }
    return {*dtype, lanes};
  }

  BufferRef parameter() {
    expect("%");
    std::string name = word();
    expect(":");
    bool out = take("out");
    return add_buffer(name, Scope::kGlobal, out);
  }

  BufferRef add_buffer(const std::string& name, Scope scope, bool writable) {
    Type element = type();
    Dim size = dim('[', ']');
    return buffers_[name] = std::make_shared<const Buffer>(Buffer{name, element, scope, writable, size});
  }

  BufferRef buffer() {
    expect("%");
    size_t begin = at_;
    auto it = buffers_.find(word());
    if (it != buffers_.end()) return it->second;
    at_ = begin;
    fail("the name of a buffer");
  }

  std::vector<StmtRef> block() {
    if (++depth_ > kMaxDepth) fail("less nesting");
    expect("{");
    std::vector<StmtRef> list;
    while (!take("}")) list.push_back(statement());
    --depth_;
    return list;
  }

  static std::shared_ptr<Stmt> make(StmtKind kind) {
    auto s = std::make_shared<Stmt>();
    s->kind = kind;
    return s;
  }

  StmtRef statement() {
    for (LoopKind kind : {LoopKind::kSerial, LoopKind::kUnrolled, LoopKind::kGrid, LoopKind::kThread})
      if (take(loop_text(kind))) return loop(kind);
    if (take("let")) return let();
    if (take("if")) return branch();
    if (take("barrier")) return make(StmtKind::kBarrier);
    if (take("prefetch")) return prefetch();
    if (take("scatter")) return store(StmtKind::kScatter);
    if (take("fragments")) return fragments();
    if (take("matrix")) return matrix();
    for (Scope scope : {Scope::kShared, Scope::kRegister})
      if (take(scope == Scope::kShared ? "shared" : "registers")) {
        auto s = make(StmtKind::kAlloc);
        expect("%");
        std::string name = word();
        expect(":");
        s->buffer = add_buffer(name, scope, true);
        return s;
      }
    if (peek("{")) {
      auto s = make(StmtKind::kBlock);
      s->body = block();
      return s;
    }
    if (peek("%")) return store(StmtKind::kStore);
    fail("a statement");
  }

  StmtRef fragments() {
    auto s = make(StmtKind::kAlloc);
    expect("%");
    std::string name = word();
    expect(":");
    Fragment fragment;
    bool known = false;
    for (Fragment::Role role : {Fragment::Role::kA, Fragment::Role::kB, Fragment::Role::kSum})
      if (!known && take(role_text(role))) fragment.role = role, known = true;
    if (!known) fail("a, b or sum");
    Type element = type();
    fragment.rows = static_cast<int>(integer());
    expect("by");
    fragment.columns = static_cast<int>(integer());
    Dim size = dim('[', ']');
    s->buffer = buffers_[name] =
        std::make_shared<const Buffer>(Buffer{name, element, Scope::kFragment, true, size, fragment});
    return s;
  }

  FragmentRef fragment() {
    FragmentRef f{buffer()};
    expect("[");
    f.index = integer();
    expect("]");
    return f;
  }

  StmtRef matrix() {
    auto s = make(StmtKind::kMatrix);
    constexpr std::pair<const char*, MatrixOp> kOps[] = {{"clear", MatrixOp::kClear},
                                                         {"load", MatrixOp::kLoad},
                                                         {"store", MatrixOp::kStore},
                                                         {"add", MatrixOp::kMultiply}};
    auto op = std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& o) { return take(o.first); });
    if (op == std::end(kOps)) fail("clear, load, store or add");
    s->matrix = op->second;
    s->buffer = buffer();
    expect("[");
    s->index = expr();
    expect("]");
    if (s->matrix == MatrixOp::kMultiply) {
      s->factors[0] = fragment();
      expect("by");
      s->factors[1] = fragment();
    }
    if (s->matrix == MatrixOp::kClear || s->matrix == MatrixOp::kMultiply) return s;
    expect(s->matrix == MatrixOp::kLoad ? "from" : "to");
    s->memory = buffer();
    expect("[");
    s->begin = expr();
    expect("]");
    constexpr MatrixOrder kOrders[] = {MatrixOrder::kRows, MatrixOrder::kColumns, MatrixOrder::kPairs};
    auto order = std::find_if(std::begin(kOrders), std::end(kOrders),
                              [&](MatrixOrder o) { return take(order_text(o)); });
    if (order == std::end(kOrders)) fail("rows, columns or pairs");
    s->order = *order;
    s->stride = integer();
    return s;
  }

  StmtRef loop(LoopKind kind) {
    auto s = make(StmtKind::kFor);
    s->loop = kind;
    expect("%");
    s->name = word();
    expect("=");
    s->begin = expr();
    expect(",");
    s->extent = expr();
    variables_[s->name] = s->begin->type;
    s->body = block();
    return s;
  }

  StmtRef let() {
    auto s = make(StmtKind::kLet);
    expect("%");
    s->name = word();
    expect("=");
    s->value = expr();
    variables_[s->name] = s->value->type;
    return s;
  }

  StmtRef branch() {
    auto s = make(StmtKind::kIf);
    s->value = expr();
    s->body = block();
    if (take("else")) s->otherwise = block();
    return s;
  }

  StmtRef prefetch() {
    auto s = make(StmtKind::kPrefetch);
    s->buffer = buffer();
    expect("[");
    s->index = expr();
    expect("]");
    s->locality = static_cast<int>(integer());
    return s;
  }

  StmtRef store(StmtKind kind) {
    auto s = make(kind);
    s->buffer = buffer();
    expect("[");
    s->index = expr();
    if (take(",")) s->mask = expr();
    expect("]");
    expect("=");
    s->value = expr();
    return s;
  }

  static std::shared_ptr<Expr> node(ExprKind kind, Type type, std::vector<ExprRef> operands = {}) {
    auto e = std::make_shared<Expr>();
    e->kind = kind;
    e->type = type;
    e->operands = std::move(operands);
    return e;
  }

  ExprRef expr() {
    if (++depth_ > kMaxDepth) fail("a shallower expression");
    skip_space();
    ExprRef e;
    if (peek("%"))
      e = name_or_load();
    else if (take("$"))
      e = dim_name();
    else if (take("("))
      e = infix();
    else if (peek("inf") || peek("nan") || peek("-") ||
             (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))))
      e = number();
    else
      e = call();
    --depth_;
    return e;
  }

  ExprRef dim_name() {
    auto e = node(ExprKind::kDim, kIndex);
    e->name = word();
    if (take(":")) e->type = type();
    return e;
  }

  ExprRef name_or_load() {
    size_t begin = at_;
    expect("%");
    std::string name = word();
    if (!peek("[")) {
      auto it = variables_.find(name);
      if (it == variables_.end()) {
        at_ = begin;
        fail("a name that is defined");
      }
      auto e = node(ExprKind::kVar, it->second);
      e->name = name;
      return e;
    }
    at_ = begin;
    BufferRef b = buffer();
    expect("[");
    auto e = node(ExprKind::kLoad, b->element, operands("]"));
    e->buffer = b;
    if (take(":")) e->type = type();
    return e;
  }

  std::vector<ExprRef> operands(std::string_view close) {
    std::vector<ExprRef> list;
    while (!take(close)) {
      list.push_back(expr());
      if (!peek(close)) expect(",");
    }
    return list;
  }

  ExprRef number() {
    skip_space();
    double value = 0;
    size_t begin = at_;
    auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("a number");
    at_ = static_cast<size_t>(end - text_.data());
    std::string_view digits = text_.substr(begin, at_ - begin);
    Type t = kIndex;
    if (take(":")) t = type();
    auto e = node(is_float(t.dtype) ? ExprKind::kFloatConst : ExprKind::kIntConst, t);
    if (is_float(t.dtype)) {
      e->float_value = value;
      return e;
    }
    auto [last, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), e->int_value);
    if (wrong != std::errc() || last != digits.data() + digits.size()) {
      at_ = begin;
      fail("an integer, or a float with its type");
    }
    return e;
  }

  static constexpr BinaryOp kInfix[] = {  // longer spellings before their prefixes
      BinaryOp::kFloorDiv, BinaryOp::kShl, BinaryOp::kShr, BinaryOp::kLe,  BinaryOp::kGe,  BinaryOp::kEq,
      BinaryOp::kNe,       BinaryOp::kAdd, BinaryOp::kSub, BinaryOp::kMul, BinaryOp::kDiv, BinaryOp::kMod,
      BinaryOp::kAnd,      BinaryOp::kOr,  BinaryOp::kXor, BinaryOp::kLt,  BinaryOp::kGt};

  ExprRef infix() {
    ExprRef a = expr();
    for (BinaryOp op : kInfix) {
      if (!take(infix_text(op))) continue;
      ExprRef b = expr();
      expect(")");
      return binary(op, a, b);
    }
    fail("an operator");
  }

  static ExprRef binary(BinaryOp op, ExprRef a, ExprRef b) {
    Type t = op >= BinaryOp::kEq ? a->type.with_dtype(DType::kBool) : a->type;
    auto e = node(ExprKind::kBinary, t, {std::move(a), std::move(b)});
    e->binary = op;
    return e;
  }

  ExprRef call() {
    size_t begin = at_;
    std::string name = word();
    expect("(");
    if (name == "gather") return gather();
    if (name == "ramp") return ramp();
    if (name == "shuffle") return shuffle();
    if (name == "subgroup_xor") return exchange(ExprKind::kSubgroupXor);
    if (name == "subgroup_broadcast") return exchange(ExprKind::kSubgroupBroadcast);
    std::vector<ExprRef> args = operands(")");
    for (auto [text, kind] : {std::pair{"cast", ExprKind::kCast},
                              {"bitcast", ExprKind::kBitcast},
                              {"broadcast", ExprKind::kBroadcast}})
      if (name == text) {
        expect(":");
        return node(kind, type(), args);
      }
    if (ExprRef e = function(name, args)) return e;
    at_ = begin;
    fail("an expression");
  }

  // Functions whose type follows from their operands; nullptr when unknown or short of operands.
  static ExprRef function(const std::string& name, const std::vector<ExprRef>& a) {
    if (a.empty()) return nullptr;
    Type t = a[0]->type;
    for (UnaryOp op :
         {UnaryOp::kNeg, UnaryOp::kAbs, UnaryOp::kSqrt, UnaryOp::kFloor, UnaryOp::kRoundEven, UnaryOp::kNot})
      if (name == unary_text(op)) {
        auto e = node(ExprKind::kUnary, t, a);
        e->unary = op;
        return e;
      }
    for (MathFn fn :
         {MathFn::kExp, MathFn::kTanh, MathFn::kErf, MathFn::kLog, MathFn::kRsqrt, MathFn::kReciprocal})
      if (name == math_text(fn)) {
        auto e = node(ExprKind::kCall, t, a);
        e->math = fn;
        return e;
      }
    for (BinaryOp op : {BinaryOp::kAdd, BinaryOp::kMin, BinaryOp::kMax}) {
      const char* suffix = op == BinaryOp::kAdd ? "add" : function_text(op);
      bool subgroup = name == str("subgroup_", suffix);
      if (!subgroup && name != str("reduce_", suffix)) continue;
      auto e = node(subgroup ? ExprKind::kSubgroup : ExprKind::kReduce, subgroup ? t : t.with_lanes(1), a);
      e->binary = op;
      return e;
    }
    if (name == "unpack_half") return node(ExprKind::kUnpackHalf, {DType::kF32, 2}, a);
    if (name == "pack_half") return node(ExprKind::kPackHalf, {DType::kU32, 1}, a);
    if (name == "half_fma" && a.size() == 3) return node(ExprKind::kHalfFma, {DType::kU32, 1}, a);
    if (name == "min" && a.size() == 2) return binary(BinaryOp::kMin, a[0], a[1]);
    if (name == "max" && a.size() == 2) return binary(BinaryOp::kMax, a[0], a[1]);
    if (name == "select" && a.size() == 3) return node(ExprKind::kSelect, a[1]->type, a);
    if (name == "fma" && a.size() == 3) return node(ExprKind::kFma, t, a);
    if (name == "dot4" && a.size() == 3) return node(ExprKind::kDot4, a[2]->type, a);
    if (name == "dot2_u8s8") return node(ExprKind::kDot2U8S8, {DType::kI16, t.lanes / 2}, a);
    if (name == "dot2_i16") return node(ExprKind::kDot2I16, {DType::kI32, t.lanes / 2}, a);
    return nullptr;
  }

  ExprRef gather() {
    BufferRef b = buffer();
    expect(",");
    std::vector<ExprRef> args = operands(")");
    if (args.empty()) fail("the indices of a gather");
    auto e = node(ExprKind::kGather, b->element.with_lanes(args[0]->type.lanes), args);
    e->buffer = b;
    return e;
  }

  ExprRef ramp() {
    ExprRef base = expr();
    expect(",");
    int64_t stride = integer();
    expect(")");
    expect(":");
    auto e = node(ExprKind::kRamp, type(), {base});
    e->int_value = stride;
    return e;
  }

  ExprRef exchange(ExprKind kind) {
    ExprRef value = expr();
    expect(",");
    auto e = node(kind, value->type, {value});
    e->int_value = integer();
    expect(")");
    return e;
  }

  ExprRef shuffle() {
    std::vector<ExprRef> args = operands(")");
    if (args.empty()) fail("the operands of a shuffle");
    expect("[");
    std::vector<int> pattern;
    while (!take("]")) {
      pattern.push_back(static_cast<int>(integer()));
      if (!peek("]")) expect(",");
    }
    auto e = node(ExprKind::kShuffle, args[0]->type.with_lanes(static_cast<int>(pattern.size())), args);
    e->pattern = std::move(pattern);
    return e;
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::map<std::string, BufferRef> buffers_;
  std::map<std::string, Type> variables_;
};

}  // namespace

Function parse(std::string_view text) { return Parser(text).function(); }

}  // namespace mlc::kernel
