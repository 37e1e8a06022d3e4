// Moves index arithmetic out of loops. LLVM's LICM would also move accumulators from memory into registers
// and vector constants into long-lived ones; this moves scalar integers and addresses, which the schedule
// does not order.
#include <llvm/Analysis/LoopInfo.h>

#include "lang/llvm/common/machine.h"

namespace mlc::lang {
namespace {

bool is_index_arithmetic(const llvm::Instruction& i) {
  if (llvm::isa<llvm::GetElementPtrInst>(i)) return !i.getType()->isVectorTy();
  bool arithmetic = llvm::isa<llvm::BinaryOperator, llvm::CastInst, llvm::CmpInst, llvm::SelectInst>(i);
  return arithmetic && i.getType()->isIntegerTy() && i.getOperand(0)->getType()->isIntegerTy();
}

bool hoist_from(llvm::Loop& loop) {
  bool changed = false;
  for (llvm::Loop* inner : loop)
    changed |= hoist_from(*inner);  // innermost first: what leaves it may leave this one too
  for (llvm::BasicBlock* block : loop.blocks())
    for (llvm::Instruction& i : llvm::make_early_inc_range(*block))
      if (is_index_arithmetic(i)) loop.makeLoopInvariant(&i, changed);
  return changed;
}

}  // namespace

llvm::PreservedAnalyses HoistIndicesPass::run(llvm::Function& function,
                                              llvm::FunctionAnalysisManager& analyses) {
  bool changed = false;
  for (llvm::Loop* loop : analyses.getResult<llvm::LoopAnalysis>(function)) changed |= hoist_from(*loop);
  if (!changed) return llvm::PreservedAnalyses::all();
  llvm::PreservedAnalyses preserved;
  preserved.preserveSet<llvm::CFGAnalyses>();
  return preserved;
}

}  // namespace mlc::lang
