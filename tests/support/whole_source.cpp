// One index after another: each element of a result is looked up in its operand.
#include "support/whole_source.h"

#include <cmath>
#include <stdexcept>

#include "formats/quant/plain.h"

namespace mlc::testing {
namespace {

using Kind = SourceExpr::Kind;
using Index = std::vector<int64_t>;

int64_t flat(const Index& shape, const Index& at) {
  int64_t result = 0;
  for (size_t i = 0; i < shape.size(); ++i) result = result * shape[i] + at[i];
  return result;
}

Index unflatten(const Index& shape, int64_t flat) {
  Index at(shape.size());
  for (size_t i = shape.size(); i-- > 0;) at[i] = flat % shape[i], flat /= shape[i];
  return at;
}

// Which part an element comes from, and where it lies in there.
size_t find_element(const SourceExpr& e, const std::vector<WholeTensor>& parts, const Index& result_shape,
                    Index& at) {
  const size_t axis = static_cast<size_t>(e.axis);
  size_t part = 0;
  switch (e.kind) {
    case Kind::kConcat:
      while (at[axis] >= parts[part].shape[axis]) at[axis] -= parts[part++].shape[axis];
      break;
    case Kind::kStack:
      part = static_cast<size_t>(at[0]);
      at.erase(at.begin());
      break;
    case Kind::kSlice: at[axis] += e.begin; break;
    case Kind::kTranspose: std::swap(at[at.size() - 1], at[at.size() - 2]); break;
    case Kind::kReshape: at = unflatten(e.from, flat(result_shape, at)); break;
    case Kind::kPermute: {
      Index dims, inner(e.dims.size());
      for (int d : e.order) dims.push_back(e.dims[static_cast<size_t>(d)]);
      const Index outer = unflatten(dims, at[axis]);
      for (size_t k = 0; k < outer.size(); ++k) inner[static_cast<size_t>(e.order[k])] = outer[k];
      at[axis] = flat(e.dims, inner);
      break;
    }
    default: break;
  }
  return part;
}

Index shape_of(const SourceExpr& e, const std::vector<WholeTensor>& parts) {
  SourceExpr shaped = e;
  for (size_t i = 0; i < parts.size(); ++i) shaped.parts[i].shape = parts[i].shape;
  return result_shape(shaped);
}

}  // namespace

WholeTensor evaluate(const SourceExpr& e, const std::function<WholeTensor(const std::string&)>& tensor,
                     DType dtype, bool exact) {
  if (e.kind == Kind::kTensor) return tensor(e.name);
  std::vector<WholeTensor> parts;
  for (const SourceExpr& part : e.parts) parts.push_back(evaluate(part, tensor, dtype, exact));
  WholeTensor result{.shape = shape_of(e, parts), .values = {}, .read_as = parts[0].read_as};
  for (int64_t i = 0; i < shape_elements(result.shape); ++i) {
    Index at = unflatten(result.shape, i);
    const WholeTensor& part = parts[find_element(e, parts, result.shape, at)];
    float v = part.values[static_cast<size_t>(flat(part.shape, at))];
    if (e.kind == Kind::kPlusOne) v += 1;
    if (e.kind == Kind::kExpNegExp) v = std::exp(-std::exp(v));
    if (e.kind == Kind::kScale && !exact) round_floats(dtype, {&v, 1});
    if (e.kind == Kind::kScale) v *= static_cast<float>(e.factor);
    if (e.kind == Kind::kPlusOne && !exact) round_floats(result.read_as, {&v, 1});
    result.values.push_back(v);
  }
  return result;
}

}  // namespace mlc::testing
