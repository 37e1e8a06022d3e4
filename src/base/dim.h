// Dim: an integer expression over named dimensions ("rows", "batch", "pages"), the one form in which shapes,
// byte sizes, arena offsets and tile counts are written from the graph down to the runtime.
//
// Values are int64. Text form: "rows", "576", "(rows * 2304)", "ceildiv(rows, 16)", "max(rows, 1)"; print and
// parse round-trip. Expressions are simplified as they are built (constants folded, x*1, x+0, x*0), so
// equal() is structural.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlc {

enum class DimOp : uint8_t { kConst, kSymbol, kAdd, kSub, kMul, kFloorDiv, kCeilDiv, kMod, kMin, kMax };

class Dim {
 public:
  Dim(int64_t value = 0);                               // NOLINT: a number is a dimension
  Dim(int value) : Dim(static_cast<int64_t>(value)) {}  // NOLINT
  static Dim symbol(std::string name);
  static Dim binary(DimOp op, const Dim& a, const Dim& b);

  DimOp op() const { return node_->op; }
  bool is_const() const { return node_->op == DimOp::kConst; }
  int64_t constant() const;         // requires is_const()
  const std::string& name() const;  // requires a symbol
  const Dim& lhs() const { return node_->operands[0]; }
  const Dim& rhs() const { return node_->operands[1]; }

  // nullopt on an unbound symbol, a division by zero or an overflow.
  std::optional<int64_t> evaluate(const std::map<std::string, int64_t>& values) const;
  // Symbols in order of first appearance.
  std::vector<std::string> symbols() const;
  // This expression with every symbol of `values` replaced.
  Dim substitute(const std::map<std::string, Dim>& values) const;
  std::string text() const;
  static std::optional<Dim> parse(std::string_view text);

  friend bool operator==(const Dim& a, const Dim& b);

 private:
  struct Node {
    DimOp op;
    int64_t value = 0;
    std::string name;
    std::vector<Dim> operands;
  };
  explicit Dim(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
};

Dim operator+(const Dim& a, const Dim& b);
Dim operator-(const Dim& a, const Dim& b);
Dim operator*(const Dim& a, const Dim& b);
Dim floordiv(const Dim& a, const Dim& b);
Dim ceildiv(const Dim& a, const Dim& b);
Dim mod(const Dim& a, const Dim& b);
Dim min(const Dim& a, const Dim& b);
Dim max(const Dim& a, const Dim& b);

// The two halves of evaluate(): the operator itself, nullopt on overflow or division by zero. Floor division
// rounds down.
std::optional<int64_t> apply(DimOp op, int64_t a, int64_t b);

}  // namespace mlc
