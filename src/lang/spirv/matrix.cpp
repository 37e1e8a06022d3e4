// Matrices of a subgroup: SPV_KHR_cooperative_matrix.
#include "base/check.h"
#include "lang/spirv/emitter.h"

namespace mlc::lang::spirv {

using kernel::Buffer;
using kernel::Fragment;
using kernel::FragmentRef;
using kernel::MatrixOp;
using kernel::MatrixOrder;
using kernel::Stmt;

// Fragment::Role in the numbers of the extension's table of uses: A, B, accumulator.
Id FunctionEmitter::fragment_type(const Buffer& fragments) {
  const Fragment& f = fragments.fragment;
  module_.require(Capability::kCooperativeMatrix);
  module_.require_extension("SPV_KHR_cooperative_matrix");
  bool halves = fragments.element.dtype == DType::kF16;
  if (halves) module_.require(Capability::kFloat16);
  Id component = module_.type_float(halves ? 16 : 32), scope = module_.constant(kScopeSubgroup);
  Id rows = module_.constant(static_cast<uint32_t>(f.rows)),
     columns = module_.constant(static_cast<uint32_t>(f.columns));
  Id use = module_.constant(static_cast<uint32_t>(f.role));
  return module_.unique(Op::kTypeCooperativeMatrixKHR, 0, {component, scope, rows, columns, use});
}

Id FunctionEmitter::fragment_variable(const FragmentRef& f) const {
  auto found = registers_.find(f.buffer.get());
  if (found == registers_.end()) fail("fragments " + f.buffer->name + " are not in scope");
  return found->second.at(static_cast<size_t>(f.index));
}

void FunctionEmitter::emit_matrix(const Stmt& s) {
  Id type = fragment_type(*s.buffer), variable = fragment_variable({s.buffer, s.index->int_value});
  auto load = [&](const FragmentRef& f) {
    return instruction(Op::kLoad, fragment_type(*f.buffer), {fragment_variable(f)});
  };
  auto keep = [&](Id result) { append(body_, Op::kStore, {variable, result}); };
  if (s.matrix == MatrixOp::kClear) {
    Id zero = module_.unique(Op::kConstant, module_.type_float(), {0});
    return keep(module_.unique(Op::kConstantComposite, type, {zero}));
  }
  if (s.matrix == MatrixOp::kMultiply) {
    Id a = load(s.factors[0]), b = load(s.factors[1]), sum = instruction(Op::kLoad, type, {variable});
    return keep(instruction(Op::kCooperativeMatrixMulAddKHR, type, {a, b, sum}));
  }
  Id place = pointer(s.memory, s.begin), layout = module_.constant(s.order == MatrixOrder::kColumns ? 1 : 0);
  Id stride = module_.constant(static_cast<uint32_t>(s.stride));
  if (s.matrix == MatrixOp::kLoad)
    return keep(
        instruction(Op::kCooperativeMatrixLoadKHR, type, {place, layout, stride, kNonPrivatePointer}));
  Id value = instruction(Op::kLoad, type, {variable});
  append(body_, Op::kCooperativeMatrixStoreKHR, {place, value, layout, stride, kNonPrivatePointer});
}

}  // namespace mlc::lang::spirv
