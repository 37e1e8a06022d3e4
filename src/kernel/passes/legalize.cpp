// Expansions of nodes that a target lacks.
#include "kernel/passes/legalize.h"

#include "kernel/builder.h"
#include "kernel/passes/rewrite.h"

namespace mlc::kernel {
namespace {

// Every `step`-th lane of `a` from `first` on, as i32 or i16.
ExprRef every(const ExprRef& a, int first, int step, DType as) {
  std::vector<int> pattern;
  for (int i = first; i < a->type.lanes; i += step) pattern.push_back(i);
  return cast(shuffle({a}, pattern), as);
}

// Sum of `width` neighbouring products of a dot's operands, computed in `as`, added to `sum` if there is one.
ExprRef sum_of_products(const Expr& dot, const NameValue& name, int width, DType as, ExprRef sum) {
  ExprRef a = name("a", dot.operands[0]);
  ExprRef b = name("b", dot.operands[1]);
  for (int i = 0; i < width; ++i) {
    ExprRef product = every(a, i, width, as) * every(b, i, width, as);
    sum = sum ? sum + product : product;
  }
  return sum;
}

std::vector<int> range(int begin, int count) {
  std::vector<int> lanes;
  for (int i = 0; i < count; ++i) lanes.push_back(begin + i);
  return lanes;
}

// dot2_i16 in pieces of one register each.
ExprRef pairs_in_registers(const ExprRef& a, const ExprRef& b, const Target& target) {
  int fit = target.vector_bytes / 2;
  if (a->type.lanes <= fit) return dot2_i16(a, b);
  std::vector<ExprRef> pieces;
  for (int i = 0; i < a->type.lanes; i += fit)
    pieces.push_back(dot2_i16(shuffle({a}, range(i, fit)), shuffle({b}, range(i, fit))));
  return shuffle(pieces, range(0, a->type.lanes / 2));
}

// Four products of bytes as two pairs of i16 products. Exact: 2 x 255 x 128 < 2^31 in each i32 lane.
ExprRef dot4_by_pairs(const Expr& e, const NameValue& name, const Target& target) {
  ExprRef a = name("wide_a", cast(e.operands[0], DType::kI16));
  ExprRef b = name("wide_b", cast(e.operands[1], DType::kI16));
  ExprRef pairs = name("pairs", pairs_in_registers(a, b, target));
  std::vector<int> even, odd;
  for (int i = 0; i < pairs->type.lanes; i += 2) {
    even.push_back(i);
    odd.push_back(i + 1);
  }
  return e.operands[2] + (shuffle({pairs}, even) + shuffle({pairs}, odd));
}

}  // namespace

Function legalize(Function function, const Target& target) {
  return rewrite(std::move(function), [&](const ExprRef& e, const NameValue& name) -> ExprRef {
    switch (e->kind) {
      case ExprKind::kFma: return target.fma ? e : e->operands[0] * e->operands[1] + e->operands[2];
      case ExprKind::kDot4: {
        bool unsigned_a = e->operands[0]->type.dtype == DType::kU8;
        if (unsigned_a ? target.dot4_u8s8 : target.dot4_s8s8) return e;
        if (target.dot2_i16) return dot4_by_pairs(*e, name, target);
        return sum_of_products(*e, name, 4, DType::kI32, e->operands[2]);
      }
      case ExprKind::kDot2U8S8:
        if (target.dot2_u8s8) return e;
        return sum_of_products(*e, name, 2, DType::kI16, nullptr);
      case ExprKind::kDot2I16:
        if (target.dot2_i16 && e->type.lanes >= 4) return e;  // fewer lanes than any register has
        return sum_of_products(*e, name, 2, DType::kI32, nullptr);
      default: return e;
    }
  });
}

}  // namespace mlc::kernel
