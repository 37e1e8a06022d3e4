// What NVIDIA's GPUs add to the emission of a kernel: parameters, group and thread, address spaces, exchange
// between lanes.
#pragma once

#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

class PtxEmitter final : public FunctionEmitter {
 public:
  PtxEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module);

 private:
  void emit_entry() override;
  void emit_level(const kernel::Stmt& s) override;
  void emit_special(const kernel::Stmt& s) override;
  llvm::Value* emit_special(const kernel::Expr& e) override;
  llvm::Value* float_min_max(bool is_min, llvm::Value* a, llvm::Value* b) override;
  llvm::Value* float_divide(llvm::Value* a, llvm::Value* b) override;
  llvm::Value* square_root(llvm::Value* a) override;
  llvm::Value* floor_divide(llvm::Value* a, llvm::Value* b, bool want_remainder) override;
  llvm::Align alignment(const kernel::Buffer& buffer, const kernel::Type& type) const override;

  llvm::Value* unpack_half(llvm::Value* word);
  llvm::Value* pack_half(llvm::Value* pair);
  llvm::Value* exchange(llvm::Intrinsic::ID f32, llvm::Intrinsic::ID i32, llvm::Value* v, int lane);
  llvm::Value* combine(const kernel::Expr& e);
  // `of` each lane of the operands, which are scalars or vectors of one length.
  template <typename F>
  llvm::Value* each_lane(llvm::Value* a, llvm::Value* b, F of);
};

}  // namespace mlc::lang
