// Statements: the function's frame, loops, branches.
#include "base/check.h"
#include "base/strings.h"
#include "kernel/shared_layout.h"
#include "lang/llvm/emit.h"
#include "lang/llvm/emitter.h"

namespace mlc::lang {

using kernel::LoopKind;
using kernel::Stmt;
using kernel::StmtKind;
using llvm::Value;

namespace {

llvm::Function* declare(llvm::Module& module, const std::string& symbol) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Type* pointer = llvm::PointerType::getUnqual(context);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, pointer, i64, i64, pointer}, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, symbol, module);
  function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function->setDSOLocal(true);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("no-builtins");
  function->addFnAttr("warn-stack-size", "0");  // reports every frame; machine.cpp collects the reports
  const char* names[] = {"buffers", "dims", "tile_begin", "tile_end", "scratch"};
  for (unsigned i = 0; i < 5; ++i) function->getArg(i)->setName(names[i]);
  return function;
}

}  // namespace

FunctionEmitter::FunctionEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module,
                                 const std::string& symbol)
    : kernel_(kernel),
      target_(target),
      conversions_(conversion_target(target)),
      context_(module.getContext()),
      function_(declare(module, symbol)),
      b_(context_) {}

void FunctionEmitter::run() {
  b_.SetInsertPoint(new_block("entry"));
  emit_entry();
  make_alias_scopes();
  configure_tiles();
  emit_block(kernel_.body);
  release_tiles();
  b_.CreateRetVoid();
}

llvm::BasicBlock* FunctionEmitter::new_block(const std::string& name) {
  return llvm::BasicBlock::Create(context_, name, function_);
}

// Reads every pointer and dimension once; shared buffers are fixed offsets of `scratch`.
void FunctionEmitter::emit_entry() {
  auto read = [&](unsigned argument, llvm::Type* type, size_t i, const std::string& name) {
    Value* slot = b_.CreateConstInBoundsGEP1_64(type, function_->getArg(argument), i);
    llvm::LoadInst* load = b_.CreateAlignedLoad(type, slot, llvm::Align(8), name);
    load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
    return load;
  };
  for (size_t i = 0; i < kernel_.buffers.size(); ++i)
    places_[kernel_.buffers[i].get()] = {.base = read(0, b_.getPtrTy(), i, kernel_.buffers[i]->name)};
  for (size_t i = 0; i < kernel_.dims.size(); ++i)
    dims_[kernel_.dims[i]] = read(1, b_.getInt64Ty(), i, kernel_.dims[i]);
  tile_begin_ = function_->getArg(2);
  tile_end_ = function_->getArg(3);
  for (const kernel::SharedPlace& shared : kernel::shared_layout(kernel_).places)
    places_[shared.buffer.get()] = {
        .base = b_.CreateConstInBoundsGEP1_64(b_.getInt8Ty(), function_->getArg(4), shared.offset)};
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
    case StmtKind::kBarrier:  // threads of a tile run one after another here
      internal_check(thread_depth_ == 0, "kernel ", kernel_.name,
                     ": a barrier inside a thread loop on a CPU");
      return;
    case StmtKind::kPrefetch: return emit_prefetch(s);
    case StmtKind::kMatrix: return emit_matrix(s);
  }
  internal_error("kernel IR: unknown statement kind");
}

void FunctionEmitter::emit_for(const Stmt& s) {
  if (s.loop == LoopKind::kGrid) {
    emit_loop(s, tile_begin_, tile_end_);
    return;
  }
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
  thread_depth_ += s.loop == LoopKind::kThread;
  emit_loop(s, begin, b_.CreateAdd(begin, extent));
  thread_depth_ -= s.loop == LoopKind::kThread;
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
