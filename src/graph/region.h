// A region: a small scalar program in f32 that an op applies to each element of what it computes. matmul,
// norms and map carry one of their results, attention one of its scores.
//
// It computes from accumulators (what the op computed), operands (other tensors) and constants. With one
// accumulator, x, the op's columns are the result's; with two, gate and up, the op computes 2n columns for n
// of the result: column c comes from columns c (gate) and c + n (up).
//
// Text form, an expression: `x + @b`, `silu(gate) * up`, `tanh(x / 30.0) * 30.0`, `clamp(x, -7.0, 7.0)`,
// `silu(gate + @b[0]) * (up + @b[1])`. An operand's shape says how it is read, for column c of n of row r:
//   full [rows, n] at (r, c);   per row [rows, 1] at r;   per column [n] or [1, 1, n] at c;
//   with [0] or [1] it has 2n columns, of which column c or c + n is meant.
// Of scores, x is a score and `bias` the second accumulator (ops/attention.cpp); there are no operands:
// `tanh(x * 0.02) * 50.0`, `x + bias`.
// Arithmetic is real arithmetic, rounded once when the result is stored; NaN stays NaN.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/dim.h"

namespace mlc::graph {

struct Value;
struct TensorType;

// What the region of an op computes from; kNone: the op takes none.
enum class RegionKind : uint8_t { kNone, kResults, kScores };

struct Region {
  enum class Op : uint8_t {
    kAccumulator,  // number `a`: 0 is x or gate, 1 is up or bias
    kOperand,      // operands[a]; `b`: -1, or the half of its columns
    kConstant,     // value
    kAdd,          // of terms a and b, likewise below
    kSub,
    kMul,
    kDiv,
    kClamp,  // term a, but at least `value` and at most `high`
    kCall,   // function(term a), a name of ops/math.h
  };
  struct Term {
    Op op = Op::kAccumulator;
    int a = 0, b = 0;
    double value = 0, high = 0;
    std::string function = {};
    friend bool operator==(const Term&, const Term&) = default;
  };
  std::vector<Term> terms;  // each uses earlier ones; the last is the result; none: x itself
  std::vector<Value*> operands;

  bool empty() const { return terms.empty(); }
  int accumulators() const;  // 1 or 2
  // The place of a term that equals this one: of an earlier one, or of a new one at the end. Of a sum or
  // product the operand or constant comes second.
  int add(const Term& term);
  int add_operand(Value* operand, int half = -1);
};

// How an operand is read.
enum class Access : uint8_t { kFull, kPerRow, kPerColumn };
Access access_of(const TensorType& operand, int64_t columns);

// Builds a region: r.result(r.call("silu", r.gate()) * r.up()).
class RegionBuilder {
 public:
  struct Ref {
    RegionBuilder* builder;
    int term;
    friend Ref operator+(Ref a, Ref b) { return a.binary(Region::Op::kAdd, b); }
    friend Ref operator-(Ref a, Ref b) { return a.binary(Region::Op::kSub, b); }
    friend Ref operator*(Ref a, Ref b) { return a.binary(Region::Op::kMul, b); }
    friend Ref operator/(Ref a, Ref b) { return a.binary(Region::Op::kDiv, b); }
    Ref binary(Region::Op op, Ref b) const { return builder->add({op, term, b.term}); }
  };
  Ref x() { return add({Region::Op::kAccumulator, 0}); }
  Ref gate() { return x(); }
  Ref up() { return add({Region::Op::kAccumulator, 1}); }
  Ref bias() { return up(); }
  Ref operand(Value* v, int half = -1) { return {this, region_.add_operand(v, half)}; }
  Ref constant(double value) { return add({Region::Op::kConstant, 0, 0, value}); }
  Ref call(const std::string& function, Ref a) { return add({Region::Op::kCall, a.term, 0, 0, 0, function}); }
  Ref clamp(Ref a, double low, double high) { return add({Region::Op::kClamp, a.term, 0, low, high}); }
  size_t size() const { return region_.terms.size(); }
  Region result(Ref last) const;

 private:
  Ref add(const Region::Term& term) { return {this, region_.add(term)}; }
  Region region_;
};

// `after` of what `before` gives: of its accumulators, or, where `made` is not null, of its operand `made`,
// and then `x` is the operand that `after` has as its accumulators. Precondition: not both have two
// accumulators.
Region compose(const Region& before, const Region& after, const Value* made = nullptr, Value* x = nullptr);

// Adds what `step` makes of the region's results: then(region, [&](RegionBuilder& r) { return r.x() +
// r.operand(b); }).
void then(Region& region, const std::function<RegionBuilder::Ref(RegionBuilder&)>& step);

// Text of the expression; reference(v) names a value ("%0", "@b").
std::string print(const Region& region, RegionKind kind,
                  const std::function<std::string(const Value*)>& reference);

// Checks a region for an op that computes [rows, columns]: throws std::invalid_argument with what is wrong.
// Returns the columns of the result.
int64_t check_region(const Region& region, const Dim& rows, int64_t columns);

// The same for one of scores; biased: whether the op has a bias.
void check_score_region(const Region& region, bool biased);

struct HostTensor;
// One row: what the op computed [columns], to the region's results.
std::vector<double> apply_region(const Region& region, const std::vector<const HostTensor*>& operands,
                                 int64_t row, std::vector<double> computed);

}  // namespace mlc::graph
