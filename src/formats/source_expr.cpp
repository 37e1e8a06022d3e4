// Follows ranges of an expression's result down to the tensors.
#include "formats/source_expr.h"

#include <algorithm>

#include "base/check.h"

namespace mlc {
namespace {

using Kind = SourceExpr::Kind;

SourceExpr unary(Kind kind, SourceExpr operand) {
  SourceExpr e;
  e.kind = kind;
  e.parts.push_back(std::move(operand));
  return e;
}

bool is_step(Kind kind) { return kind == Kind::kPlusOne || kind == Kind::kExpNegExp || kind == Kind::kScale; }

int64_t product_after(const std::vector<int64_t>& shape, size_t axis) {
  int64_t product = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) product *= shape[i];
  return product;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

class RunFinder {
 public:
  // Elements begin, begin + stride, ... of `e`.
  void add(const SourceExpr& e, int64_t begin, int64_t count, int64_t stride) {
    if (e.kind == Kind::kTensor) return push({e.leaf, begin, count, count == 1 ? 1 : stride});
    if (e.kind == Kind::kReshape || is_step(e.kind)) return add(e.parts[0], begin, count, stride);
    while (count > 0) {
      const int64_t steps = std::min(count, e.kind == Kind::kTranspose ? transposed(e, begin, count, stride)
                                                                       : along_axis(e, begin, count, stride));
      begin += steps * stride;
      count -= steps;
    }
  }

  std::vector<SourceRun> take() { return std::move(runs_); }

 private:
  // A stretch of the axis that lies in one operand in the same order.
  struct Stretch {
    const SourceExpr* operand;
    int64_t end;     // in the result's axis
    int64_t place;   // of the element asked for, in the operand's axis
    int64_t length;  // of the operand's axis
  };

  static Stretch stretch_at(const SourceExpr& e, int64_t i) {
    switch (e.kind) {
      case Kind::kStack: return {&e.parts[static_cast<size_t>(i)], i + 1, 0, 1};
      case Kind::kSlice: return {&e.parts[0], e.end - e.begin, i + e.begin, e.dims[0]};
      case Kind::kPermute: return permuted_at(e, i);
      default: break;
    }
    int64_t first = 0;
    for (const SourceExpr& part : e.parts) {
      const int64_t length = part.shape[static_cast<size_t>(e.axis)];
      if (i < first + length) return {&part, first + length, i - first, length};
      first += length;
    }
    internal_error("a source element outside of its expression");
  }

  static Stretch permuted_at(const SourceExpr& e, int64_t i) {
    // The last dims that keep their place move as one.
    size_t moving = e.dims.size();
    int64_t block = 1;
    while (moving > 0 && e.order[moving - 1] == static_cast<int>(moving) - 1) block *= e.dims[--moving];
    std::vector<int64_t> at(e.dims.size(), 0);
    int64_t rest = i / block;
    for (size_t k = moving; k-- > 0;) {
      const int64_t dim = e.dims[static_cast<size_t>(e.order[k])];
      at[static_cast<size_t>(e.order[k])] = rest % dim;
      rest /= dim;
    }
    int64_t place = 0;
    for (size_t d = 0; d < moving; ++d) place = place * e.dims[d] + at[d];
    return {&e.parts[0], (i / block + 1) * block, place * block + i % block,
            e.shape[static_cast<size_t>(e.axis)]};
  }

  // Adds the elements from `begin` to the end of its stretch; returns how many that may be.
  int64_t along_axis(const SourceExpr& e, int64_t begin, int64_t count, int64_t stride) {
    const size_t axis = e.kind == Kind::kStack ? 0 : static_cast<size_t>(e.axis);
    const int64_t inner = product_after(e.shape, axis), length = e.shape[axis];
    const int64_t outer = begin / (inner * length), i = begin / inner % length, r = begin % inner;
    const Stretch s = stretch_at(e, i);
    const int64_t steps = std::min(count, ceil_div(s.end * inner - i * inner - r, stride));
    const int64_t from = ((e.kind == Kind::kStack ? 0 : outer * s.length) + s.place) * inner + r;
    add(*s.operand, from, steps, stride);
    return steps;
  }

  int64_t transposed(const SourceExpr& e, int64_t begin, int64_t count, int64_t stride) {
    const size_t rank = e.shape.size();
    const int64_t rows = e.shape[rank - 2], columns = e.shape[rank - 1];
    const int64_t outer = begin / (rows * columns), i = begin / columns % rows, j = begin % columns;
    int64_t steps = 1, step = 1;
    if (stride < columns)
      steps = ceil_div(columns - j, stride), step = stride * rows;
    else if (stride % columns == 0)
      step = stride / columns, steps = ceil_div(rows - i, step);
    steps = std::min(steps, count);
    add(e.parts[0], (outer * columns + j) * rows + i, steps, step);
    return steps;
  }

  // Appends a run, to the last one where that goes on with it.
  void push(SourceRun run) {
    if (!runs_.empty() && runs_.back().leaf == run.leaf) {
      SourceRun& last = runs_.back();
      const int64_t gap = run.begin - (last.begin + (last.count - 1) * last.stride);
      const int64_t stride = last.count > 1 ? last.stride : run.count > 1 ? run.stride : gap;
      if (gap > 0 && gap == stride && (run.count == 1 || run.stride == stride)) {
        last.stride = stride;
        last.count += run.count;
        return;
      }
    }
    runs_.push_back(run);
  }

  std::vector<SourceRun> runs_;
};

void number_from(SourceExpr& e, int& next) {
  if (e.kind == Kind::kTensor) e.leaf = next++;
  for (SourceExpr& part : e.parts) number_from(part, next);
}

void add_leaves(const SourceExpr& e, std::vector<SourceLeaf::Step> steps, std::vector<SourceLeaf>& leaves) {
  if (e.kind == Kind::kTensor) {
    std::reverse(steps.begin(), steps.end());
    leaves.push_back({e.tensor, e.shape, std::move(steps)});
    return;
  }
  if (is_step(e.kind)) steps.push_back({e.kind, e.factor});
  for (const SourceExpr& part : e.parts) add_leaves(part, steps, leaves);
}

}  // namespace

SourceExpr SourceExpr::of(std::string name) {
  SourceExpr e;
  e.name = std::move(name);
  return e;
}

SourceExpr SourceExpr::concat(std::vector<SourceExpr> parts, int axis) {
  if (parts.size() == 1) return std::move(parts[0]);
  SourceExpr e;
  e.kind = Kind::kConcat;
  e.parts = std::move(parts);
  e.axis = axis;
  return e;
}

SourceExpr SourceExpr::rows_of(const std::vector<std::string>& names) {
  std::vector<SourceExpr> parts;
  for (const std::string& name : names) parts.push_back(of(name));
  return concat(std::move(parts));
}

SourceExpr SourceExpr::stack(std::vector<SourceExpr> parts) {
  SourceExpr e;
  e.kind = Kind::kStack;
  e.parts = std::move(parts);
  return e;
}

SourceExpr SourceExpr::slice(SourceExpr operand, int axis, int64_t length, int64_t begin, int64_t end) {
  internal_check(0 <= begin && begin < end && end <= length, "a slice is outside of its axis");
  SourceExpr e = unary(Kind::kSlice, std::move(operand));
  e.axis = axis, e.begin = begin, e.end = end, e.dims = {length};
  return e;
}

SourceExpr SourceExpr::transpose(SourceExpr operand) { return unary(Kind::kTranspose, std::move(operand)); }

SourceExpr SourceExpr::permute(SourceExpr operand, int axis, std::vector<int64_t> dims,
                               std::vector<int> order) {
  internal_check(dims.size() == order.size(), "a permutation names each of its axes");
  SourceExpr e = unary(Kind::kPermute, std::move(operand));
  e.axis = axis, e.dims = std::move(dims), e.order = std::move(order);
  return e;
}

SourceExpr SourceExpr::reshape(SourceExpr operand, std::vector<int64_t> from, std::vector<int64_t> dims) {
  internal_check(shape_elements(from) == shape_elements(dims), "a reshape keeps the number of elements");
  SourceExpr e = unary(Kind::kReshape, std::move(operand));
  e.from = std::move(from), e.dims = std::move(dims);
  return e;
}

SourceExpr SourceExpr::plus_one(SourceExpr operand) { return unary(Kind::kPlusOne, std::move(operand)); }

SourceExpr SourceExpr::exp_neg_exp(SourceExpr operand) { return unary(Kind::kExpNegExp, std::move(operand)); }

SourceExpr SourceExpr::scale(SourceExpr operand, double factor) {
  SourceExpr e = unary(Kind::kScale, std::move(operand));
  e.factor = factor;
  return e;
}

int64_t shape_elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  return count;
}

std::vector<std::string> source_names(const SourceExpr& expr) {
  if (expr.kind == Kind::kTensor) return {expr.name};
  std::vector<std::string> names;
  for (const SourceExpr& part : expr.parts)
    for (std::string& name : source_names(part)) names.push_back(std::move(name));
  return names;
}

std::vector<int64_t> result_shape(const SourceExpr& expr) {
  if (expr.kind == Kind::kTensor) return expr.shape;
  if (expr.kind == Kind::kReshape) return expr.dims;
  std::vector<int64_t> shape = expr.parts[0].shape;
  const size_t axis = static_cast<size_t>(expr.axis);
  switch (expr.kind) {
    case Kind::kConcat:
      shape[axis] = 0;
      for (const SourceExpr& part : expr.parts) shape[axis] += part.shape[axis];
      break;
    case Kind::kStack: shape.insert(shape.begin(), static_cast<int64_t>(expr.parts.size())); break;
    case Kind::kSlice: shape[axis] = expr.end - expr.begin; break;
    case Kind::kTranspose: std::swap(shape[shape.size() - 1], shape[shape.size() - 2]); break;
    default: break;
  }
  return shape;
}

void number_leaves(SourceExpr& expr) {
  int next = 0;
  number_from(expr, next);
}

std::vector<SourceLeaf> source_leaves(const SourceExpr& expr) {
  std::vector<SourceLeaf> leaves;
  add_leaves(expr, {}, leaves);
  return leaves;
}

std::vector<SourceRun> source_runs(const SourceExpr& expr, int64_t begin, int64_t end) {
  RunFinder finder;
  finder.add(expr, begin, end - begin, 1);
  return finder.take();
}

}  // namespace mlc
