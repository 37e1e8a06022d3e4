// The GPU's side of emission.
#include "lang/llvm/nvptx/emitter.h"

#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/IntrinsicsNVPTX.h>

#include "base/check.h"

namespace mlc::lang {

using llvm::Value;
namespace I = llvm::Intrinsic;

namespace {

constexpr int kLanes = 32;  // of a warp
constexpr uint32_t kAllLanes = 0xFFFFFFFF;
// shfl.sync's c operand: all 32 lanes are one segment, the last lane is 31 (PTX ISA, "shfl.sync").
constexpr uint32_t kWholeWarp = 31;

llvm::Function* declare(llvm::Module& module, const kernel::Function& kernel) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Function* function = declare_gpu_kernel(module, kernel, llvm::CallingConv::PTX_Kernel);
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
    : GpuEmitter(kernel, target, declare(module, kernel)) {
  internal_check(kernel.subgroup_size == 0 || kernel.subgroup_size == kLanes, "kernel ", kernel.name,
                 " has subgroups of ", kernel.subgroup_size, " lanes");
}

Value* PtxEmitter::group_number() { return b_.CreateIntrinsic(I::nvvm_read_ptx_sreg_ctaid_x, {}, {}); }
Value* PtxEmitter::thread_number() { return b_.CreateIntrinsic(I::nvvm_read_ptx_sreg_tid_x, {}, {}); }
void PtxEmitter::barrier() { b_.CreateIntrinsic(I::nvvm_barrier0, {}, {}); }

Value* PtxEmitter::shuffle(I::ID f32, I::ID i32, Value* v, int lane) {
  return b_.CreateIntrinsic(
      v->getType()->isFloatTy() ? f32 : i32, {},
      {b_.getInt32(kAllLanes), v, b_.getInt32(static_cast<uint32_t>(lane)), b_.getInt32(kWholeWarp)});
}

Value* PtxEmitter::exchange(Value* scalar, int mask) {
  return shuffle(I::nvvm_shfl_sync_bfly_f32, I::nvvm_shfl_sync_bfly_i32, scalar, mask);
}

Value* PtxEmitter::broadcast(Value* scalar, int lane) {
  return shuffle(I::nvvm_shfl_sync_idx_f32, I::nvvm_shfl_sync_idx_i32, scalar, lane);
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

}  // namespace mlc::lang
