// Regions: building, composing, text, checks and the reference meaning.
#include "graph/region.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "graph/ops/check.h"
#include "graph/ops/math.h"
#include "graph/print.h"

namespace mlc::graph {
namespace {

using Op = Region::Op;
using Term = Region::Term;

bool is_binary(Op op) { return op >= Op::kAdd && op <= Op::kDiv; }
bool is_unary(Op op) { return op == Op::kClamp || op == Op::kCall; }

// Copies terms of one region to another; leaf(term) says what stands for accumulators and operands.
class Copier {
 public:
  Copier(const Region& from, Region& to, std::function<int(const Term&)> leaf)
      : from_(from), to_(to), leaf_(std::move(leaf)), places_(from.terms.size(), -1) {}

  int result() { return from_.empty() ? leaf_({Op::kAccumulator, 0}) : copy(from_.terms.size() - 1); }

 private:
  int copy(size_t i) {
    if (places_[i] >= 0) return places_[i];
    Term term = from_.terms[i];
    if (is_binary(term.op) || is_unary(term.op)) term.a = copy(static_cast<size_t>(term.a));
    if (is_binary(term.op)) term.b = copy(static_cast<size_t>(term.b));
    const bool leaf = term.op == Op::kAccumulator || term.op == Op::kOperand;
    return places_[i] = leaf ? leaf_(term) : to_.add(term);
  }

  const Region& from_;
  Region& to_;
  std::function<int(const Term&)> leaf_;
  std::vector<int> places_;
};

int precedence(Op op) {
  if (op == Op::kAdd || op == Op::kSub) return 1;
  return op == Op::kMul || op == Op::kDiv ? 2 : 3;
}

}  // namespace

int Region::accumulators() const {
  auto second = [](const Term& t) { return t.op == Op::kAccumulator && t.a == 1; };
  return std::any_of(terms.begin(), terms.end(), second) ? 2 : 1;
}

int Region::add(const Term& given) {
  Term term = given;
  auto is_leaf = [&](int i) {
    const Op op = terms[static_cast<size_t>(i)].op;
    return op == Op::kOperand || op == Op::kConstant;
  };
  if ((term.op == Op::kAdd || term.op == Op::kMul) && is_leaf(term.a) && !is_leaf(term.b))
    std::swap(term.a, term.b);
  auto found = std::find(terms.begin(), terms.end(), term);
  if (found == terms.end()) found = terms.insert(found, term);
  return static_cast<int>(found - terms.begin());
}

int Region::add_operand(Value* operand, int half) {
  auto found = std::find(operands.begin(), operands.end(), operand);
  if (found == operands.end()) found = operands.insert(found, operand);
  return add({Op::kOperand, static_cast<int>(found - operands.begin()), half});
}

Access access_of(const TensorType& operand, int64_t columns) {
  if (operand.shape.size() != 2) return Access::kPerColumn;
  return columns != 1 && operand.shape[1] == Dim(1) ? Access::kPerRow : Access::kFull;
}

Region RegionBuilder::result(Ref last) const {
  Region out;
  auto leaf = [&](const Term& t) {
    return t.op == Op::kOperand ? out.add_operand(region_.operands[static_cast<size_t>(t.a)], t.b)
                                : out.add(t);
  };
  Region cut = region_;  // what was built after the result or beside it is left behind
  cut.terms.resize(static_cast<size_t>(last.term) + 1);
  Copier(cut, out, leaf).result();
  return out;
}

Region compose(const Region& before, const Region& after, const Value* made, Value* x) {
  const bool halves = after.accumulators() == 2;
  internal_check(!halves || made || before.accumulators() == 1, "a region gates twice");
  Region out;
  auto before_of_half = [&](int half) {
    auto leaf = [&](const Term& t) {
      if (t.op == Op::kAccumulator) return out.add({Op::kAccumulator, half < 0 ? t.a : half});
      Value* operand = before.operands[static_cast<size_t>(t.a)];
      const bool whole = half < 0 || (operand->type.shape.size() == 2 && operand->type.shape[1] == Dim(1));
      return out.add_operand(operand, whole ? t.b : half);
    };
    return Copier(before, out, leaf).result();
  };
  auto leaf = [&](const Term& t) {
    if (t.op == Op::kAccumulator && !made) return before_of_half(halves ? t.a : -1);
    if (t.op == Op::kAccumulator) return out.add_operand(x, halves ? t.a : -1);
    Value* operand = after.operands[static_cast<size_t>(t.a)];
    return operand == made ? before_of_half(-1) : out.add_operand(operand, t.b);
  };
  Copier(after, out, leaf).result();
  return out;
}

void then(Region& region, const std::function<RegionBuilder::Ref(RegionBuilder&)>& step) {
  RegionBuilder r;
  const RegionBuilder::Ref last = step(r);
  region = compose(region, r.result(last));
}

std::string print(const Region& region, RegionKind kind,
                  const std::function<std::string(const Value*)>& reference) {
  const bool scores = kind == RegionKind::kScores, halves = !scores && region.accumulators() == 2;
  std::function<std::string(int)> text = [&](int i) -> std::string {
    const Term& t = region.terms[static_cast<size_t>(i)];
    auto inner = [&](int term, bool right) {
      const int own = precedence(t.op), its = precedence(region.terms[static_cast<size_t>(term)].op);
      return its < own || (right && its == own) ? "(" + text(term) + ")" : text(term);
    };
    auto infix = [&](const char* sign) { return inner(t.a, false) + sign + inner(t.b, true); };
    switch (t.op) {
      case Op::kAccumulator: return t.a == 1 ? (scores ? "bias" : "up") : halves ? "gate" : "x";
      case Op::kOperand: {
        std::string name = reference(region.operands[static_cast<size_t>(t.a)]);
        return t.b < 0 ? name : str(name, "[", t.b, "]");
      }
      case Op::kConstant: return print(Attribute(t.value));
      case Op::kAdd: return infix(" + ");
      case Op::kSub: return infix(" - ");
      case Op::kMul: return infix(" * ");
      case Op::kDiv: return infix(" / ");
      case Op::kClamp:
        return str("clamp(", text(t.a), ", ", print(Attribute(t.value)), ", ", print(Attribute(t.high)), ")");
      case Op::kCall: return str(t.function, "(", text(t.a), ")");
    }
    return "";
  };
  return region.empty() ? "x" : text(static_cast<int>(region.terms.size()) - 1);
}

int64_t check_region(const Region& region, const Dim& rows, int64_t columns) {
  const int halves = region.accumulators();
  if (columns % halves != 0) refuse("region gates an odd number of columns: ", columns);
  const int64_t n = columns / halves;
  for (const Term& t : region.terms) {
    if (t.op == Op::kCall) check_function(t.function);
    if (t.op == Op::kClamp && !(t.value <= t.high)) refuse("region clamps to an empty range");
    if (t.op != Op::kOperand) continue;
    const TensorType& type = region.operands[static_cast<size_t>(t.a)]->type;
    const int64_t width = t.b < 0 ? n : 2 * n;
    const Shape column = {width}, deep_column = {1, 1, width}, full = {rows, width}, row = {rows, 1};
    const bool plain = type.kind == TensorType::Kind::kPlain && is_float(type.dtype()) && !type.is_tiled();
    const bool matrix = type.shape == full || (type.shape == row && t.b < 0);
    const bool vector = type.shape == column || type.shape == deep_column;
    if (!plain || !(vector || (matrix && type.dtype() == DType::kF32)))
      refuse("region operand ", t.a, " (", type.text(), ") is no f32[", rows.text(), ", ", width, "]",
             t.b < 0 ? str(", f32[", rows.text(), ", 1]") : "", " or float vector of ", width, " elements");
  }
  return n;
}

void check_score_region(const Region& region, bool biased) {
  if (!region.operands.empty()) refuse("region of scores has operands");
  const bool reads_bias = region.accumulators() == 2;
  if (reads_bias && !biased) refuse("region reads a bias, but the op has none");
  if (biased && !reads_bias) refuse("region leaves out the bias");
  check_region(region, 1, region.accumulators());
}

std::vector<double> apply_region(const Region& region, const std::vector<const HostTensor*>& operands,
                                 int64_t row, std::vector<double> computed) {
  if (region.empty()) return computed;
  const size_t n = computed.size() / static_cast<size_t>(region.accumulators());
  std::vector<std::vector<double>> values;
  for (const Term& t : region.terms) {
    std::vector<double> v(n);
    auto of = [&](int term, size_t c) { return values[static_cast<size_t>(term)][c]; };
    for (size_t c = 0; c < n; ++c) switch (t.op) {
        case Op::kAccumulator: v[c] = computed[c + static_cast<size_t>(t.a) * n]; break;
        case Op::kOperand: {
          const HostTensor& x = *operands[static_cast<size_t>(t.a)];
          const size_t at = c + (t.b == 1 ? n : 0), r = static_cast<size_t>(row);
          const size_t width = x.shape.size() == 2 ? static_cast<size_t>(x.shape[1]) : 0;
          v[c] = x.floats[width == 0 ? at : width == 1 ? r : r * width + at];
          break;
        }
        case Op::kConstant: v[c] = t.value; break;
        case Op::kAdd: v[c] = of(t.a, c) + of(t.b, c); break;
        case Op::kSub: v[c] = of(t.a, c) - of(t.b, c); break;
        case Op::kMul: v[c] = of(t.a, c) * of(t.b, c); break;
        case Op::kDiv: v[c] = of(t.a, c) / of(t.b, c); break;
        case Op::kClamp: {
          const double x = of(t.a, c);
          v[c] = x < t.value ? t.value : x > t.high ? t.high : x;
          break;
        }
        case Op::kCall: v[c] = find_function(t.function)(of(t.a, c)); break;
      }
    values.push_back(std::move(v));
  }
  return values.back();
}

}  // namespace mlc::graph
