// What GPUs share in the emission of a device function: parameters, shared memory, halves, reductions of a
// subgroup. What their back ends spell differently is virtual: nvptx/emitter.h and amdgpu/emitter.h.
#pragma once

#include <llvm/IR/CallingConv.h>
#include <llvm/Support/CodeGen.h>

#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

// The kernel as a function without a body: a pointer into global memory for each buffer, then each dim as
// i32. Buffers that are read and equal no output are marked as such.
llvm::Function* declare_gpu_kernel(llvm::Module& module, const kernel::Function& kernel,
                                   llvm::CallingConv::ID convention);

// A kernel legal for the target as the target's assembly text or object: `emit` writes the function into an
// empty module, which is then verified, optimised and generated (`reorder`: machine.h). Internal error when
// the kernel is not legal.
std::string generate_gpu_kernel(const kernel::Function& kernel, const Target& target,
                                void (*emit)(const kernel::Function&, const Target&, llvm::Module&),
                                llvm::CodeGenFileType type, bool reorder);

class GpuEmitter : public FunctionEmitter {
 public:
  using FunctionEmitter::FunctionEmitter;

 protected:
  virtual llvm::Value* group_number() = 0;   // i32, in x
  virtual llvm::Value* thread_number() = 0;  // i32, in its group
  virtual void barrier() = 0;
  // A scalar (f32 or i32) of lane (this lane ^ mask) and of that lane.
  virtual llvm::Value* exchange(llvm::Value* scalar, int mask) = 0;
  virtual llvm::Value* broadcast(llvm::Value* scalar, int lane) = 0;

  // A kMatrix statement, of back ends whose targets have matrix units.
  virtual void matrix(const kernel::Stmt& s);

  // `of` each lane of the operands, which are scalars or vectors of one length; `b` may be null.
  template <typename F>
  llvm::Value* each_lane(llvm::Value* a, llvm::Value* b, F of) {
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(a->getType());
    if (!vector) return of(a, b);
    llvm::Value* out = llvm::PoisonValue::get(vector);
    for (uint64_t i = 0; i < vector->getNumElements(); ++i)
      out = b_.CreateInsertElement(
          out, of(b_.CreateExtractElement(a, i), b ? b_.CreateExtractElement(b, i) : nullptr), i);
    return out;
  }

 private:
  void emit_entry() override;
  void emit_level(const kernel::Stmt& s) override;
  void emit_special(const kernel::Stmt& s) override;
  llvm::Value* emit_special(const kernel::Expr& e) override;
  llvm::Value* float_min_max(bool is_min, llvm::Value* a, llvm::Value* b) override;
  llvm::Value* floor_divide(llvm::Value* a, llvm::Value* b, bool want_remainder) override;
  llvm::Align alignment(const kernel::Buffer& buffer, const kernel::Type& type) const override;
  llvm::Value* combine(const kernel::Expr& e);
};

}  // namespace mlc::lang
