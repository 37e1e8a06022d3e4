// The GPU's side of emission.
#include "lang/llvm/nvptx/emitter.h"

#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/IntrinsicsNVPTX.h>
#include <llvm/IR/MDBuilder.h>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/shared_layout.h"

namespace mlc::lang {

using kernel::Expr;
using kernel::ExprKind;
using kernel::LoopKind;
using kernel::Scope;
using kernel::Stmt;
using kernel::StmtKind;
using llvm::Value;
namespace I = llvm::Intrinsic;

namespace {

// LLVM's user guide of NVPTX, "Address Spaces".
constexpr unsigned kGlobalSpace = 1, kSharedSpace = 3;
constexpr int kLanes = 32;  // of a warp
constexpr uint32_t kAllLanes = 0xFFFFFFFF;
// shfl.sync's c operand: all 32 lanes are one segment, the last lane is 31 (PTX ISA, "shfl.sync").
constexpr uint32_t kWholeWarp = 31;

llvm::Function* declare(llvm::Module& module, const kernel::Function& kernel) {
  llvm::LLVMContext& context = module.getContext();
  std::vector<llvm::Type*> parameters(kernel.buffers.size(), llvm::PointerType::get(context, kGlobalSpace));
  parameters.insert(parameters.end(), kernel.dims.size(), llvm::Type::getInt32Ty(context));
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), parameters, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, kernel.name, module);
  function->setCallingConv(llvm::CallingConv::PTX_Kernel);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("no-builtins");
  for (unsigned i = 0; i < kernel.buffers.size(); ++i) {
    const bool shares = kernel.in_place && (i == 0 || kernel.buffers[i]->writable);
    llvm::AttrBuilder attributes(context);
    attributes.addAlignmentAttr(16);
    if (!shares) attributes.addAttribute(llvm::Attribute::NoAlias);
    if (!kernel.buffers[i]->writable) attributes.addAttribute(llvm::Attribute::ReadOnly);
    function->addParamAttrs(i, attributes);
    function->getArg(i)->setName(kernel.buffers[i]->name);
  }
  auto annotate = [&](const char* what, int64_t value) {
    llvm::Metadata* entry[] = {llvm::ConstantAsMetadata::get(function), llvm::MDString::get(context, what),
                               llvm::ConstantAsMetadata::get(llvm::ConstantInt::get(
                                   llvm::Type::getInt32Ty(context), static_cast<uint64_t>(value)))};
    module.getOrInsertNamedMetadata("nvvm.annotations")->addOperand(llvm::MDNode::get(context, entry));
  };
  annotate("kernel", 1);
  annotate("reqntidx", kernel::thread_count(kernel));
  annotate("reqntidy", 1);
  annotate("reqntidz", 1);
  return function;
}

}  // namespace

PtxEmitter::PtxEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module)
    : FunctionEmitter(kernel, target, declare(module, kernel)) {
  internal_check(kernel.subgroup_size == 0 || kernel.subgroup_size == kLanes, "kernel ", kernel.name,
                 " has subgroups of ", kernel.subgroup_size, " lanes");
}

void PtxEmitter::emit_entry() {
  unsigned argument = 0;
  for (const kernel::BufferRef& buffer : kernel_.buffers)
    places_[buffer.get()] = {.base = function_->getArg(argument++)};
  for (const std::string& dim : kernel_.dims) dims_[dim] = function_->getArg(argument++);
  const kernel::SharedLayout layout = kernel::shared_layout(kernel_);
  if (layout.bytes == 0) return;
  auto* type = llvm::ArrayType::get(b_.getInt8Ty(), static_cast<uint64_t>(layout.bytes));
  auto* shared = new llvm::GlobalVariable(
      *function_->getParent(), type, false, llvm::GlobalValue::InternalLinkage, llvm::PoisonValue::get(type),
      kernel_.name + "_shared", nullptr, llvm::GlobalValue::NotThreadLocal, kSharedSpace);
  shared->setAlignment(llvm::Align(16));
  for (const kernel::SharedPlace& place : layout.places)
    places_[place.buffer.get()] = {.base =
                                       b_.CreateConstInBoundsGEP1_64(b_.getInt8Ty(), shared, place.offset)};
}

// One group a grid iteration, in x.
void PtxEmitter::emit_level(const Stmt& s) {
  const bool grid = s.loop == LoopKind::kGrid;
  const int64_t most = grid ? INT32_MAX : kernel::thread_count(kernel_);
  llvm::CallInst* number =
      b_.CreateIntrinsic(grid ? I::nvvm_read_ptx_sreg_ctaid_x : I::nvvm_read_ptx_sreg_tid_x, {}, {});
  number->setMetadata(llvm::LLVMContext::MD_range,
                      llvm::MDBuilder(context_).createRange(llvm::APInt(32, 0),
                                                            llvm::APInt(32, static_cast<uint64_t>(most))));
  variables_[s.name] = number;
  emit_block(s.body);
}

void PtxEmitter::emit_special(const Stmt& s) {
  internal_check(s.kind == StmtKind::kBarrier, "kernel ", kernel_.name, ": a statement that ", target_.name,
                 " does not have");
  b_.CreateIntrinsic(I::nvvm_barrier0, {}, {});
}

Value* PtxEmitter::emit_special(const Expr& e) {
  switch (e.kind) {
    case ExprKind::kUnpackHalf: return unpack_half(value(e.operands[0]));
    case ExprKind::kPackHalf: return pack_half(value(e.operands[0]));
    case ExprKind::kSubgroup: return combine(e);
    case ExprKind::kSubgroupXor:
      return exchange(I::nvvm_shfl_sync_bfly_f32, I::nvvm_shfl_sync_bfly_i32, value(e.operands[0]),
                      static_cast<int>(e.int_value));
    case ExprKind::kSubgroupBroadcast:
      return exchange(I::nvvm_shfl_sync_idx_f32, I::nvvm_shfl_sync_idx_i32, value(e.operands[0]),
                      static_cast<int>(e.int_value));
    default:
      internal_error(str("kernel ", kernel_.name, ": an operation that ", target_.name, " does not have"));
  }
}

Value* PtxEmitter::unpack_half(Value* word) {
  auto* halves = llvm::FixedVectorType::get(b_.getHalfTy(), 2);
  return b_.CreateFPExt(b_.CreateBitCast(word, halves), llvm::FixedVectorType::get(b_.getFloatTy(), 2));
}

Value* PtxEmitter::pack_half(Value* pair) {
  auto* halves = llvm::FixedVectorType::get(b_.getHalfTy(), 2);
  return b_.CreateBitCast(b_.CreateFPTrunc(pair, halves), b_.getInt32Ty());
}

template <typename F>
Value* PtxEmitter::each_lane(Value* a, Value* b, F of) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(a->getType());
  if (!vector) return of(a, b);
  Value* out = llvm::PoisonValue::get(vector);
  for (uint64_t i = 0; i < vector->getNumElements(); ++i)
    out = b_.CreateInsertElement(
        out, of(b_.CreateExtractElement(a, i), b ? b_.CreateExtractElement(b, i) : nullptr), i);
  return out;
}

Value* PtxEmitter::exchange(I::ID f32, I::ID i32, Value* v, int lane) {
  return each_lane(v, nullptr, [&](Value* a, Value*) -> Value* {
    return b_.CreateIntrinsic(
        a->getType()->isFloatTy() ? f32 : i32, {},
        {b_.getInt32(kAllLanes), a, b_.getInt32(static_cast<uint32_t>(lane)), b_.getInt32(kWholeWarp)});
  });
}

// A butterfly: both lanes of a pair add the same two values, so that all lanes end with equal bits.
Value* PtxEmitter::combine(const Expr& e) {
  Value* v = value(e.operands[0]);
  for (int step = kLanes / 2; step > 0; step /= 2)
    v = arithmetic(e.binary, v, exchange(I::nvvm_shfl_sync_bfly_f32, I::nvvm_shfl_sync_bfly_i32, v, step),
                   e.type);
  return v;
}

// min.f32 and max.f32 give the other operand for a NaN.
Value* PtxEmitter::float_min_max(bool is_min, Value* a, Value* b) {
  return b_.CreateBinaryIntrinsic(is_min ? I::minnum : I::maxnum, a, b);
}

Value* PtxEmitter::float_divide(Value* a, Value* b) {
  llvm::Type* f32 = b_.getFloatTy();
  auto* divide = llvm::InlineAsm::get(llvm::FunctionType::get(f32, {f32, f32}, false),
                                      "div.full.f32 $0, $1, $2;", "=f,f,f", /*hasSideEffects=*/false);
  return each_lane(a, b, [&](Value* x, Value* y) { return b_.CreateCall(divide, {x, y}); });
}

Value* PtxEmitter::square_root(Value* a) {
  return each_lane(a, nullptr,
                   [&](Value* x, Value*) { return b_.CreateIntrinsic(I::nvvm_sqrt_approx_f, {}, {x}); });
}

// Operands of device functions are not negative.
Value* PtxEmitter::floor_divide(Value* a, Value* b, bool want_remainder) {
  return want_remainder ? b_.CreateURem(a, b) : b_.CreateUDiv(a, b);
}

// Global buffers start at multiples of 16 bytes, and an access of n lanes has an index that is a multiple of
// n.
llvm::Align PtxEmitter::alignment(const kernel::Buffer& buffer, const kernel::Type& type) const {
  const int lanes = std::max(type.lanes, buffer.element.lanes);
  return llvm::Align(static_cast<uint64_t>(size_of(buffer.element.dtype)) * static_cast<uint64_t>(lanes));
}

}  // namespace mlc::lang
