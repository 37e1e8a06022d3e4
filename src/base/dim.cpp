// Integer expressions over named dimensions.
#include "base/dim.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/check.h"

namespace mlc {
namespace {

struct OpText {
  DimOp op;
  const char* infix;     // " + " or nullptr
  const char* function;  // "min" or nullptr
};

constexpr OpText kOpTexts[] = {
    {DimOp::kAdd, " + ", nullptr},         {DimOp::kSub, " - ", nullptr},
    {DimOp::kMul, " * ", nullptr},         {DimOp::kFloorDiv, nullptr, "floordiv"},
    {DimOp::kCeilDiv, nullptr, "ceildiv"}, {DimOp::kMod, nullptr, "mod"},
    {DimOp::kMin, nullptr, "min"},         {DimOp::kMax, nullptr, "max"},
};

// Recursive descent over the text form; depth is bounded so that hostile text cannot exhaust the stack.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::optional<Dim> parse_all() {
    auto d = parse_expr(0);
    skip_space();
    return d && text_.empty() ? d : std::nullopt;
  }

 private:
  static constexpr int kMaxDepth = 64;

  void skip_space() {
    while (!text_.empty() && text_.front() == ' ') text_.remove_prefix(1);
  }
  bool take(char c) {
    skip_space();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  std::optional<Dim> parse_expr(int depth) {
    skip_space();
    if (text_.empty() || depth > kMaxDepth) return std::nullopt;
    if (take('(')) return parse_infix(depth);
    if (std::isdigit(static_cast<unsigned char>(text_.front())) || text_.front() == '-')
      return parse_number();
    return parse_word(depth);
  }

  std::optional<Dim> parse_infix(int depth) {
    auto a = parse_expr(depth + 1);
    skip_space();
    if (!a || text_.empty()) return std::nullopt;
    char c = text_.front();
    text_.remove_prefix(1);
    auto b = parse_expr(depth + 1);
    if (!b || !take(')')) return std::nullopt;
    for (const OpText& t : kOpTexts)
      if (t.infix && t.infix[1] == c) return Dim::binary(t.op, *a, *b);
    return std::nullopt;
  }

  std::optional<Dim> parse_number() {
    int64_t value = 0;
    auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc()) return std::nullopt;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return Dim(value);
  }

  std::optional<Dim> parse_word(int depth) {
    size_t n = 0;
    while (n < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[n])) || text_[n] == '_')) ++n;
    if (n == 0) return std::nullopt;
    std::string word(text_.substr(0, n));
    text_.remove_prefix(n);
    if (!take('(')) return Dim::symbol(word);
    auto a = parse_expr(depth + 1);
    if (!a || !take(',')) return std::nullopt;
    auto b = parse_expr(depth + 1);
    if (!b || !take(')')) return std::nullopt;
    for (const OpText& t : kOpTexts)
      if (t.function && word == t.function) return Dim::binary(t.op, *a, *b);
    return std::nullopt;
  }

  std::string_view text_;
};

}  // namespace

std::optional<int64_t> apply(DimOp op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case DimOp::kAdd: return __builtin_add_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case DimOp::kSub: return __builtin_sub_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case DimOp::kMul: return __builtin_mul_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case DimOp::kMin: return std::min(a, b);
    case DimOp::kMax: return std::max(a, b);
    case DimOp::kFloorDiv:
    case DimOp::kCeilDiv:
    case DimOp::kMod: {
      if (b == 0 || (a == INT64_MIN && b == -1)) return std::nullopt;
      int64_t quotient = a / b, rest = a % b;
      bool below = rest != 0 && (rest < 0) != (b < 0);  // truncation rounded up
      int64_t floor = quotient - below;
      if (op == DimOp::kFloorDiv) return floor;
      if (op == DimOp::kCeilDiv) return floor + (rest != 0);
      return below ? rest + b : rest;  // floor * b may not fit in int64
    }
    case DimOp::kConst:
    case DimOp::kSymbol: break;
  }
  return std::nullopt;
}

Dim::Dim(int64_t value) : node_(std::make_shared<Node>(Node{DimOp::kConst, value, {}, {}})) {}

Dim Dim::symbol(std::string name) {
  return Dim(std::make_shared<const Node>(Node{DimOp::kSymbol, 0, std::move(name), {}}));
}

Dim Dim::binary(DimOp op, const Dim& a, const Dim& b) {
  if (a.is_const() && b.is_const())
    if (auto folded = apply(op, a.constant(), b.constant())) return Dim(*folded);
  auto is = [](const Dim& d, int64_t v) { return d.is_const() && d.constant() == v; };
  switch (op) {
    case DimOp::kAdd:
      if (is(a, 0)) return b;
      [[fallthrough]];
    case DimOp::kSub:
      if (is(b, 0)) return a;
      break;
    case DimOp::kMul:
      if (is(a, 0) || is(b, 0)) return Dim(0);
      if (is(a, 1)) return b;
      [[fallthrough]];
    case DimOp::kFloorDiv:
    case DimOp::kCeilDiv:
      if (is(b, 1)) return a;
      break;
    case DimOp::kMin:
    case DimOp::kMax:
      if (a == b) return a;
      break;
    default: break;
  }
  return Dim(std::make_shared<const Node>(Node{op, 0, {}, {a, b}}));
}

int64_t Dim::constant() const {
  internal_check(is_const(), "constant() of a symbolic dimension");
  return node_->value;
}

const std::string& Dim::name() const {
  internal_check(op() == DimOp::kSymbol, "name() of a dimension that is no symbol");
  return node_->name;
}

std::optional<int64_t> Dim::evaluate(const std::map<std::string, int64_t>& values) const {
  if (is_const()) return node_->value;
  if (op() == DimOp::kSymbol) {
    auto it = values.find(node_->name);
    return it == values.end() ? std::nullopt : std::optional(it->second);
  }
  auto a = lhs().evaluate(values), b = rhs().evaluate(values);
  return a && b ? apply(op(), *a, *b) : std::nullopt;
}

std::vector<std::string> Dim::symbols() const {
  if (op() == DimOp::kSymbol) return {node_->name};
  std::vector<std::string> names;
  for (const Dim& operand : node_->operands)
    for (std::string& name : operand.symbols())
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  return names;
}

Dim Dim::substitute(const std::map<std::string, Dim>& values) const {
  if (is_const()) return *this;
  if (op() == DimOp::kSymbol) {
    auto it = values.find(node_->name);
    return it == values.end() ? *this : it->second;
  }
  return binary(op(), lhs().substitute(values), rhs().substitute(values));
}

std::string Dim::text() const {
  if (is_const()) return std::to_string(node_->value);
  if (op() == DimOp::kSymbol) return node_->name;
  for (const OpText& t : kOpTexts)
    if (t.op == op()) {
      if (t.infix) return "(" + lhs().text() + t.infix + rhs().text() + ")";
      return std::string(t.function) + "(" + lhs().text() + ", " + rhs().text() + ")";
    }
  internal_error("a dimension operator without text");
}

std::optional<Dim> Dim::parse(std::string_view text) { return Parser(text).parse_all(); }

bool operator==(const Dim& a, const Dim& b) {
  if (a.node_ == b.node_) return true;
  return a.node_->op == b.node_->op && a.node_->value == b.node_->value && a.node_->name == b.node_->name &&
         a.node_->operands == b.node_->operands;
}

Dim operator+(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kAdd, a, b); }
Dim operator-(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kSub, a, b); }
Dim operator*(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kMul, a, b); }
Dim floordiv(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kFloorDiv, a, b); }
Dim ceildiv(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kCeilDiv, a, b); }
Dim mod(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kMod, a, b); }
Dim min(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kMin, a, b); }
Dim max(const Dim& a, const Dim& b) { return Dim::binary(DimOp::kMax, a, b); }

}  // namespace mlc
