// What AMD's GPUs add to the emission of a kernel: what marks it, group and thread, exchange between lanes.
#pragma once

#include "lang/llvm/common/gpu_emitter.h"

namespace mlc::lang {

class AmdgpuEmitter final : public GpuEmitter {
 public:
  AmdgpuEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module);

 private:
  llvm::Value* group_number() override;
  llvm::Value* thread_number() override;
  void barrier() override;
  llvm::Value* exchange(llvm::Value* scalar, int mask) override;
  llvm::Value* broadcast(llvm::Value* scalar, int lane) override;
  llvm::Value* float_divide(llvm::Value* a, llvm::Value* b) override;
  llvm::Value* square_root(llvm::Value* a) override;

  llvm::Value* exchange_bits(llvm::Value* word, int mask);
  llvm::Value* to_lane(llvm::Value* word, int control);
};

}  // namespace mlc::lang
