// What NVIDIA's GPUs add to the emission of a kernel: what marks it, group and thread, exchange between
// lanes, matrices (matrix.cpp).
#pragma once

#include "lang/llvm/common/gpu_emitter.h"

namespace mlc::lang {

class PtxEmitter final : public GpuEmitter {
 public:
  PtxEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module);

 private:
  llvm::Value* group_number() override;
  llvm::Value* thread_number() override;
  void barrier() override;
  llvm::Value* exchange(llvm::Value* scalar, int mask) override;
  llvm::Value* broadcast(llvm::Value* scalar, int lane) override;
  llvm::Value* float_divide(llvm::Value* a, llvm::Value* b) override;
  llvm::Value* square_root(llvm::Value* a) override;
  void matrix(const kernel::Stmt& s) override;

  llvm::Value* fragment_register(const kernel::FragmentRef& f, int number);
  std::vector<llvm::Value*> fragment_values(const kernel::FragmentRef& f);  // as mma takes them
  void keep_fragment(const kernel::FragmentRef& f, llvm::Value* results);   // as ldmatrix and mma give them
  llvm::Value* fragment_place(const kernel::Stmt& s, llvm::Value* line, llvm::Value* along, int bytes);
  void load_factor(const kernel::Stmt& s, const kernel::FragmentRef& to);
  void move_sum(const kernel::Stmt& s, const kernel::FragmentRef& f);

  llvm::Value* shuffle(llvm::Intrinsic::ID f32, llvm::Intrinsic::ID i32, llvm::Value* v, int lane);
};

}  // namespace mlc::lang
