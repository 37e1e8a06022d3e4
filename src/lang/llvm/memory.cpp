// Loads, stores and addresses: which buffer lies where, and what the optimiser may know about it.
#include <llvm/IR/MDBuilder.h>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/shared_layout.h"
#include "lang/llvm/emitter.h"

namespace mlc::lang {

using kernel::Buffer;
using kernel::BufferRef;
using kernel::Expr;
using kernel::Scope;
using kernel::Stmt;
using kernel::Type;
using llvm::Value;

const FunctionEmitter::Place& FunctionEmitter::place(const BufferRef& buffer) const {
  auto found = places_.find(buffer.get());
  if (found == places_.end())
    internal_error(str("kernel ", kernel_.name, ": buffer ", buffer->name, " is not in scope"));
  return found->second;
}

bool FunctionEmitter::is_byte_view(const Buffer& buffer, const Type& type) const {
  return buffer.element.dtype == DType::kU8 && buffer.element.lanes == 1 && type.dtype != DType::kU8;
}

Value* FunctionEmitter::address(const BufferRef& buffer, const Type& type, Value* index) {
  llvm::Type* unit = is_byte_view(*buffer, type) ? b_.getInt8Ty() : memory_type(context_, buffer->element);
  return b_.CreateInBoundsGEP(unit, place(buffer).base, index);
}

// Registers are our own allocas; other memory is only as aligned as its elements.
llvm::Align FunctionEmitter::alignment(const Buffer& buffer, const Type& type) const {
  if (is_byte_view(buffer, type)) return llvm::Align(1);
  int64_t lanes = buffer.scope == Scope::kRegister ? buffer.element.lanes : 1;
  return llvm::Align(static_cast<uint64_t>(size_of(buffer.element.dtype)) * lanes);
}

void FunctionEmitter::annotate(llvm::Instruction* access, const BufferRef& buffer) {
  const Place& p = place(buffer);
  if (p.scope) access->setMetadata(llvm::LLVMContext::MD_alias_scope, p.scope);
  if (p.others) access->setMetadata(llvm::LLVMContext::MD_noalias, p.others);
}

// One alias scope per buffer. With in_place, the first input shares the scope of everything that is written.
void FunctionEmitter::make_alias_scopes() {
  llvm::MDBuilder metadata(context_);
  llvm::MDNode* domain = metadata.createAnonymousAliasScopeDomain();
  llvm::MDNode* in_place = kernel_.in_place ? metadata.createAnonymousAliasScope(domain) : nullptr;
  std::vector<std::pair<Place*, llvm::Metadata*>> all;
  auto add = [&](const BufferRef& buffer, bool shares) {
    all.push_back(
        {&places_.at(buffer.get()), shares ? in_place : metadata.createAnonymousAliasScope(domain)});
  };
  for (size_t i = 0; i < kernel_.buffers.size(); ++i)
    add(kernel_.buffers[i], kernel_.in_place && (i == 0 || kernel_.buffers[i]->writable));
  for (const kernel::SharedPlace& shared : kernel::shared_layout(kernel_).places) add(shared.buffer, false);
  for (auto& [place, scope] : all) {
    std::vector<llvm::Metadata*> others;
    for (auto& [other, other_scope] : all)
      if (other_scope != scope) others.push_back(other_scope);
    place->scope = llvm::MDNode::get(context_, {scope});
    if (!others.empty()) place->others = llvm::MDNode::get(context_, others);
  }
}

Value* FunctionEmitter::from_memory(Value* loaded, const Type& type) {
  if (type.dtype != DType::kBool) return loaded;
  return b_.CreateICmpNE(loaded, llvm::Constant::getNullValue(loaded->getType()));
}

Value* FunctionEmitter::to_memory(Value* v, const Type& type) {
  return type.dtype == DType::kBool ? b_.CreateZExt(v, memory_type(context_, type)) : v;
}

Value* FunctionEmitter::emit_load(const Expr& e) {
  Value* pointer = address(e.buffer, e.type, value(e.operands[0]));
  llvm::Type* type = memory_type(context_, e.type);
  llvm::Align align = alignment(*e.buffer, e.type);
  if (e.operands.size() < 2) {
    llvm::LoadInst* load = b_.CreateAlignedLoad(type, pointer, align);
    annotate(load, e.buffer);
    return from_memory(load, e.type);
  }
  internal_check(e.type.lanes > 1, "kernel IR: a masked load has several lanes");
  llvm::CallInst* load =
      b_.CreateMaskedLoad(type, pointer, align, value(e.operands[1]), llvm::Constant::getNullValue(type));
  annotate(load, e.buffer);
  return from_memory(load, e.type);
}

Value* FunctionEmitter::emit_gather(const Expr& e) {
  internal_check(e.type.lanes > 1, "kernel IR: a gather has several lanes");
  llvm::Type* type = memory_type(context_, e.type);
  Value* pointers = address(e.buffer, e.type, value(e.operands[0]));
  Value* mask = e.operands.size() > 1 ? value(e.operands[1]) : nullptr;
  llvm::CallInst* gather = b_.CreateMaskedGather(type, pointers, alignment(*e.buffer, e.type), mask,
                                                 llvm::Constant::getNullValue(type));
  annotate(gather, e.buffer);
  return from_memory(gather, e.type);
}

void FunctionEmitter::emit_store(const Stmt& s) {
  const Type& type = s.value->type;
  Value* stored = to_memory(value(s.value), type);
  Value* pointer = address(s.buffer, type, value(s.index));
  llvm::Align align = alignment(*s.buffer, type);
  if (!s.mask) return annotate(b_.CreateAlignedStore(stored, pointer, align), s.buffer);
  internal_check(type.lanes > 1, "kernel IR: a masked store has several lanes");
  annotate(b_.CreateMaskedStore(stored, pointer, align, value(s.mask)), s.buffer);
}

void FunctionEmitter::emit_scatter(const Stmt& s) {
  const Type& type = s.value->type;
  internal_check(type.lanes > 1, "kernel IR: a scatter has several lanes");
  Value* stored = to_memory(value(s.value), type);
  Value* pointers = address(s.buffer, type, value(s.index));
  Value* mask = s.mask ? value(s.mask) : nullptr;
  annotate(b_.CreateMaskedScatter(stored, pointers, alignment(*s.buffer, type), mask), s.buffer);
}

// prefetch(address, read, locality, data cache).
void FunctionEmitter::emit_prefetch(const Stmt& s) {
  Value* pointer = address(s.buffer, s.buffer->element, value(s.index));
  b_.CreateIntrinsic(llvm::Intrinsic::prefetch, {pointer->getType()},
                     {pointer, b_.getInt32(0), b_.getInt32(s.locality), b_.getInt32(1)});
}

void FunctionEmitter::emit_alloc(const Stmt& s) {
  if (s.buffer->scope == Scope::kShared || s.buffer->scope == Scope::kFragment) return;  // placed at entry
  internal_check(s.buffer->scope == Scope::kRegister && s.buffer->size.is_const(), "kernel ", kernel_.name,
                 ": buffer ", s.buffer->name, " cannot be allocated");
  if (places_.count(s.buffer.get())) return;  // a further copy of an unrolled body
  llvm::IRBuilderBase::InsertPointGuard guard(b_);
  llvm::BasicBlock& entry = function_->getEntryBlock();
  b_.SetInsertPoint(&entry, entry.begin());
  auto* type = llvm::ArrayType::get(memory_type(context_, s.buffer->element), s.buffer->size.constant());
  llvm::AllocaInst* registers = b_.CreateAlloca(type, nullptr, s.buffer->name);
  registers->setAlignment(alignment(*s.buffer, s.buffer->element));
  places_[s.buffer.get()] = {.base = registers};
}

}  // namespace mlc::lang
