// The CPU's side of emission: a kernel's parameters, its grid and thread loops, small operations.
#include "lang/llvm/cpu/emitter.h"

#include "base/check.h"
#include "base/strings.h"
#include "kernel/shared_layout.h"

namespace mlc::lang {

using kernel::Expr;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::LoopKind;
using kernel::Scope;
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

CpuEmitter::CpuEmitter(const kernel::Function& kernel, const Target& target, llvm::Module& module,
                       const std::string& symbol)
    : FunctionEmitter(kernel, target, declare(module, symbol)) {}

// Reads every pointer and dimension once; shared buffers are fixed offsets of `scratch`.
void CpuEmitter::emit_entry() {
  const llvm::DataLayout& layout = function_->getParent()->getDataLayout();
  auto read = [&](unsigned argument, llvm::Type* type, size_t i, const std::string& name) {
    Value* slot = b_.CreateConstInBoundsGEP1_64(type, function_->getArg(argument), i);
    llvm::LoadInst* load = b_.CreateAlignedLoad(type, slot, layout.getABITypeAlign(type), name);
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
  configure_tiles();
}

// Threads of a tile run one after another here.
void CpuEmitter::emit_level(const Stmt& s) {
  if (s.loop == LoopKind::kGrid) return emit_loop(s, tile_begin_, tile_end_);
  ++thread_depth_;
  emit_counted(s);
  --thread_depth_;
}

void CpuEmitter::emit_special(const Stmt& s) {
  switch (s.kind) {
    case StmtKind::kBarrier:
      internal_check(thread_depth_ == 0, "kernel ", kernel_.name,
                     ": a barrier inside a thread loop on a CPU");
      return;
    case StmtKind::kPrefetch: return emit_prefetch(s);
    default: return emit_matrix(s);
  }
}

Value* CpuEmitter::emit_special(const Expr& e) {
  const bool dot = e.kind == ExprKind::kDot4 || e.kind == ExprKind::kDot2U8S8 || e.kind == ExprKind::kDot2I16;
  internal_check(dot, "kernel ", kernel_.name, ": an operation of thread-bound functions on a CPU");
  std::vector<Value*> operands;
  for (const ExprRef& operand : e.operands) operands.push_back(value(operand));
  return emit_dot(b_, e, operands, target_);
}

// prefetch(address, read, locality, data cache).
void CpuEmitter::emit_prefetch(const Stmt& s) {
  Value* pointer = address(s.buffer, s.buffer->element, value(s.index));
  b_.CreateIntrinsic(llvm::Intrinsic::prefetch, {pointer->getType()},
                     {pointer, b_.getInt32(0), b_.getInt32(s.locality), b_.getInt32(1)});
}

// Registers are our own allocas; other memory is only as aligned as its elements.
llvm::Align CpuEmitter::alignment(const kernel::Buffer& buffer, const kernel::Type& type) const {
  if (is_byte_view(buffer, type)) return llvm::Align(1);
  int64_t lanes = buffer.scope == Scope::kRegister ? buffer.element.lanes : 1;
  return llvm::Align(static_cast<uint64_t>(size_of(buffer.element.dtype)) * lanes);
}

namespace {

bool never_nan(Value* v) {
  auto* constant = llvm::dyn_cast<llvm::Constant>(v);
  if (!constant) return false;
  if (constant->getType()->isVectorTy()) constant = constant->getSplatValue();
  auto* number = llvm::dyn_cast_or_null<llvm::ConstantFP>(constant);
  return number && !number->isNaN();
}

}  // namespace

// x86's minps and maxps return the second operand when one is NaN: one instruction when that operand cannot
// be NaN.
Value* CpuEmitter::float_min_max(bool is_min, Value* a, Value* b) {
  if (is_arm(target_))
    return b_.CreateBinaryIntrinsic(is_min ? llvm::Intrinsic::minnum : llvm::Intrinsic::maxnum, a, b);
  if (never_nan(a)) std::swap(a, b);
  Value* first = is_min ? b_.CreateFCmpOLT(a, b) : b_.CreateFCmpOGT(a, b);
  Value* ordered = b_.CreateSelect(first, a, b);
  if (never_nan(b)) return ordered;
  return b_.CreateSelect(b_.CreateFCmpUNO(b, b), a, ordered);
}

}  // namespace mlc::lang
