// The GPU's side of emission (LLVM's user guide of AMDGPU; AMD's instruction set references).
#include "lang/llvm/amdgpu/emitter.h"

#include <llvm/IR/IntrinsicsAMDGPU.h>
#include <llvm/IR/MDBuilder.h>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::lang {

using llvm::Value;
namespace I = llvm::Intrinsic;

namespace {

constexpr int kCodeObjectVersion = 400;  // 4: read by every ROCm since 4.1
constexpr float kUlps = 2.5f;            // of division and square root: v_rcp_f32 and v_sqrt_f32, scaled

// Data-parallel primitives: a lane's operand comes from another lane of its quad, its row of 16.
constexpr int kQuadXor[] = {0, 0xB1, 0x4E, 0x1B};  // quad_perm [1,0,3,2], [2,3,0,1], [3,2,1,0]
constexpr int kRowXor = 0x160;                     // row_xmask:N, from gfx10 on
constexpr unsigned kAllRows = 0xF;
// ds_swizzle_b32 in its mode of bit masks, within 32 lanes: lane = ((this & and) | or) ^ xor.
constexpr unsigned kSwizzleAnd = 0x1F, kSwizzleXorBit = 10;

// Nothing of what drivers pass behind a kernel's arguments or in registers is wanted but the group's number
// in x and the thread's.
constexpr const char* kUnwanted[] = {
    "amdgpu-no-completion-action", "amdgpu-no-default-queue",  "amdgpu-no-dispatch-id",
    "amdgpu-no-dispatch-ptr",      "amdgpu-no-heap-ptr",       "amdgpu-no-hostcall-ptr",
    "amdgpu-no-implicitarg-ptr",   "amdgpu-no-lds-kernel-id",  "amdgpu-no-multigrid-sync-arg",
    "amdgpu-no-queue-ptr",         "amdgpu-no-workgroup-id-y", "amdgpu-no-workgroup-id-z",
    "amdgpu-no-workitem-id-y",     "amdgpu-no-workitem-id-z",
};

llvm::Function* declare(llvm::Module& module, const kernel::Function& kernel) {
  module.addModuleFlag(llvm::Module::Error, "amdhsa_code_object_version", kCodeObjectVersion);
  llvm::Function* function = declare_gpu_kernel(module, kernel, llvm::CallingConv::AMDGPU_KERNEL);
  const int64_t threads = kernel::thread_count(kernel);
  function->addFnAttr("amdgpu-flat-work-group-size", str(threads, ",", threads));
  function->addFnAttr("uniform-work-group-size", "true");
  for (const char* attribute : kUnwanted) function->addFnAttr(attribute);
  return function;
}

// Wavefronts of 64 lanes are those of generations 9 and before, which have no row_xmask.
bool has_row_xor(const Target& target) { return target.subgroup_size == 32; }

}  // namespace

AmdgpuEmitter::AmdgpuEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module)
    : GpuEmitter(kernel, target, declare(module, kernel)) {
  internal_check(kernel.subgroup_size == 0 || kernel.subgroup_size == target.subgroup_size, "kernel ",
                 kernel.name, " has subgroups of ", kernel.subgroup_size, " lanes");
}

Value* AmdgpuEmitter::group_number() { return b_.CreateIntrinsic(I::amdgcn_workgroup_id_x, {}, {}); }
Value* AmdgpuEmitter::thread_number() { return b_.CreateIntrinsic(I::amdgcn_workitem_id_x, {}, {}); }

// Stores before it, of both memories, are seen after it.
void AmdgpuEmitter::barrier() {
  const llvm::SyncScope::ID group = context_.getOrInsertSyncScopeID("workgroup");
  b_.CreateFence(llvm::AtomicOrdering::Release, group);
  b_.CreateIntrinsic(I::amdgcn_s_barrier, {}, {});
  b_.CreateFence(llvm::AtomicOrdering::Acquire, group);
}

Value* AmdgpuEmitter::to_lane(Value* word, int control) {
  return b_.CreateIntrinsic(
      I::amdgcn_update_dpp, {b_.getInt32Ty()},
      {llvm::PoisonValue::get(b_.getInt32Ty()), word, b_.getInt32(static_cast<uint32_t>(control)),
       b_.getInt32(kAllRows), b_.getInt32(kAllRows), b_.getTrue()});
}

Value* AmdgpuEmitter::exchange_bits(Value* word, int mask) {
  if (mask < 4) return to_lane(word, kQuadXor[mask]);
  if (mask < 16 && has_row_xor(target_)) return to_lane(word, kRowXor + mask);
  if (mask < 32)
    return b_.CreateIntrinsic(
        I::amdgcn_ds_swizzle, {},
        {word, b_.getInt32(kSwizzleAnd | static_cast<uint32_t>(mask) << kSwizzleXorBit)});
  Value* ones = b_.getInt32(~0u);
  Value* lane = b_.CreateIntrinsic(I::amdgcn_mbcnt_lo, {}, {ones, b_.getInt32(0)});
  lane = b_.CreateIntrinsic(I::amdgcn_mbcnt_hi, {}, {ones, lane});
  Value* other = b_.CreateShl(b_.CreateXor(lane, static_cast<uint64_t>(mask)), 2);  // in bytes
  return b_.CreateIntrinsic(I::amdgcn_ds_bpermute, {}, {other, word});
}

Value* AmdgpuEmitter::exchange(Value* scalar, int mask) {
  Value* word = b_.CreateBitCast(scalar, b_.getInt32Ty());
  return b_.CreateBitCast(exchange_bits(word, mask), scalar->getType());
}

Value* AmdgpuEmitter::broadcast(Value* scalar, int lane) {
  return b_.CreateIntrinsic(I::amdgcn_readlane, {scalar->getType()},
                            {scalar, b_.getInt32(static_cast<uint32_t>(lane))});
}

Value* AmdgpuEmitter::float_divide(Value* a, Value* b) {
  return b_.CreateFDiv(a, b, "", llvm::MDBuilder(context_).createFPMath(kUlps));
}

Value* AmdgpuEmitter::square_root(Value* a) {
  auto* root = llvm::cast<llvm::CallInst>(b_.CreateUnaryIntrinsic(I::sqrt, a));
  root->setMetadata(llvm::LLVMContext::MD_fpmath, llvm::MDBuilder(context_).createFPMath(kUlps));
  return root;
}

}  // namespace mlc::lang
