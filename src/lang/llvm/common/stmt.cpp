// Statements: the function's frame, loops, branches.
#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

using kernel::LoopKind;
using kernel::Stmt;
using kernel::StmtKind;
using llvm::Value;

FunctionEmitter::FunctionEmitter(const kernel::Function& kernel, const Target& target,
                                 llvm::Function* function)
    : kernel_(kernel),
      target_(target),
      conversions_(conversion_target(target)),
      context_(function->getContext()),
      function_(function),
      b_(context_) {}

void FunctionEmitter::run() {
  b_.SetInsertPoint(new_block("entry"));
  emit_entry();
  make_alias_scopes();
  emit_block(kernel_.body);
  finish();
  b_.CreateRetVoid();
}

llvm::BasicBlock* FunctionEmitter::new_block(const std::string& name) {
  return llvm::BasicBlock::Create(context_, name, function_);
}

void FunctionEmitter::emit_block(const std::vector<kernel::StmtRef>& statements) {
  for (const kernel::StmtRef& s : statements) emit_statement(*s);
}

void FunctionEmitter::emit_statement(const Stmt& s) {
  memo_.clear();  // a store may have changed what loads see
  switch (s.kind) {
    case StmtKind::kLet: {
      Value* v = value(s.value);
      if (!llvm::isa<llvm::Constant>(v) && !v->hasName()) v->setName(s.name);
      variables_[s.name] = v;
      return;
    }
    case StmtKind::kStore: return emit_store(s);
    case StmtKind::kScatter: return emit_scatter(s);
    case StmtKind::kFor: return emit_for(s);
    case StmtKind::kIf: return emit_if(s);
    case StmtKind::kBlock: return emit_block(s.body);
    case StmtKind::kAlloc: return emit_alloc(s);
    case StmtKind::kBarrier:
    case StmtKind::kPrefetch:
    case StmtKind::kMatrix: return emit_special(s);
  }
  internal_error("kernel IR: unknown statement kind");
}

void FunctionEmitter::emit_for(const Stmt& s) {
  if (s.loop == LoopKind::kGrid || s.loop == LoopKind::kThread) return emit_level(s);
  emit_counted(s);
}

void FunctionEmitter::emit_counted(const Stmt& s) {
  Value* begin = value(s.begin);
  Value* extent = value(s.extent);
  auto* count = llvm::dyn_cast<llvm::ConstantInt>(extent);
  if (s.loop == LoopKind::kUnrolled || (count && count->isOne())) {
    internal_check(count != nullptr, "kernel ", kernel_.name, ": unrolled loop ", s.name,
                   " has no constant extent");
    for (int64_t i = 0; i < count->getSExtValue(); ++i) {
      variables_[s.name] = b_.CreateAdd(begin, llvm::ConstantInt::get(begin->getType(), i));
      emit_block(s.body);
    }
    return;
  }
  emit_loop(s, begin, b_.CreateAdd(begin, extent));
}

// if (begin < end) do { body } while (++i < end): the shape the code generator's loop passes want.
void FunctionEmitter::emit_loop(const Stmt& s, Value* begin, Value* end) {
  llvm::BasicBlock* before = b_.GetInsertBlock();
  llvm::BasicBlock* body = new_block(s.name);
  llvm::BasicBlock* after = llvm::BasicBlock::Create(context_, s.name + ".end");
  b_.CreateCondBr(b_.CreateICmpSLT(begin, end), body, after);
  b_.SetInsertPoint(body);
  llvm::PHINode* index = b_.CreatePHI(begin->getType(), 2, s.name);
  index->addIncoming(begin, before);
  variables_[s.name] = index;
  emit_block(s.body);
  Value* next = b_.CreateNSWAdd(index, llvm::ConstantInt::get(index->getType(), 1), s.name + ".next");
  index->addIncoming(next, b_.GetInsertBlock());
  b_.CreateCondBr(b_.CreateICmpSLT(next, end), body, after);
  function_->insert(function_->end(), after);
  b_.SetInsertPoint(after);
}

void FunctionEmitter::emit_if(const Stmt& s) {
  Value* condition = value(s.value);
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(condition))
    return emit_block(known->isOne() ? s.body : s.otherwise);
  llvm::BasicBlock* then = new_block("then");
  llvm::BasicBlock* otherwise = llvm::BasicBlock::Create(context_, "else");
  llvm::BasicBlock* after = llvm::BasicBlock::Create(context_, "endif");
  b_.CreateCondBr(condition, then, otherwise);
  b_.SetInsertPoint(then);
  emit_block(s.body);
  b_.CreateBr(after);
  function_->insert(function_->end(), otherwise);
  b_.SetInsertPoint(otherwise);
  emit_block(s.otherwise);
  b_.CreateBr(after);
  function_->insert(function_->end(), after);
  b_.SetInsertPoint(after);
}

}  // namespace mlc::lang
