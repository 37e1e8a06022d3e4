// What CPUs add to the emission of a kernel: the ABI of CPU kernels, dot products, matrix tiles.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

// dots.cpp: the table (node, operand types, lanes, target) -> intrinsic. Internal error when the target has
// none.
llvm::Value* emit_dot(Builder& b, const kernel::Expr& node, const std::vector<llvm::Value*>& operands,
                      const Target& target);

class CpuEmitter final : public FunctionEmitter {
 public:
  CpuEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module,
             const std::string& symbol);

 private:
  void emit_entry() override;
  void finish() override { release_tiles(); }
  void emit_level(const kernel::Stmt& s) override;
  void emit_special(const kernel::Stmt& s) override;
  llvm::Value* emit_special(const kernel::Expr& e) override;
  llvm::Value* float_min_max(bool is_min, llvm::Value* a, llvm::Value* b) override;
  llvm::Align alignment(const kernel::Buffer& buffer, const kernel::Type& type) const override;
  void emit_prefetch(const kernel::Stmt& s);

  // matrix.cpp; a function with fragments configures the tiles where it begins and releases them where it
  // ends.
  void configure_tiles();
  void release_tiles();
  llvm::Value* tile(const kernel::FragmentRef& f);  // its number
  void emit_matrix(const kernel::Stmt& s);

  llvm::Value *tile_begin_ = nullptr, *tile_end_ = nullptr;
  std::unordered_map<const kernel::Buffer*, size_t> tiles_;  // number of the first
  int thread_depth_ = 0;
};

}  // namespace mlc::lang
