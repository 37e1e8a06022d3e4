// The GPU's side of emission.
#include "lang/llvm/common/gpu_emitter.h"

#include <llvm/IR/MDBuilder.h>

#include <map>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/shared_layout.h"
#include "kernel/verify.h"
#include "lang/llvm/common/machine.h"

namespace mlc::lang {

using kernel::Expr;
using kernel::ExprKind;
using kernel::LoopKind;
using kernel::Stmt;
using kernel::StmtKind;
using llvm::Value;

namespace {

// LLVM's user guides of NVPTX and AMDGPU, "Address Spaces": both have these.
constexpr unsigned kGlobalSpace = 1, kSharedSpace = 3;

}  // namespace

llvm::Function* declare_gpu_kernel(llvm::Module& module, const kernel::Function& kernel,
                                   llvm::CallingConv::ID convention) {
  llvm::LLVMContext& context = module.getContext();
  std::vector<llvm::Type*> parameters(kernel.buffers.size(), llvm::PointerType::get(context, kGlobalSpace));
  parameters.insert(parameters.end(), kernel.dims.size(), llvm::Type::getInt32Ty(context));
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), parameters, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, kernel.name, module);
  function->setCallingConv(convention);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("no-builtins");
  for (unsigned i = 0; i < kernel.buffers.size(); ++i) {
    const bool shares = kernel.in_place && (i == 0 || kernel.buffers[i]->writable);
    llvm::AttrBuilder attributes(context);
    attributes.addAlignmentAttr(16);
    if (!shares) attributes.addAttribute(llvm::Attribute::NoAlias);
    if (!kernel.buffers[i]->writable) attributes.addAttribute(llvm::Attribute::ReadOnly);
    function->addParamAttrs(i, attributes);
    function->getArg(i)->setName(kernel.buffers[i]->name);
  }
  return function;
}

std::string generate_gpu_kernel(const kernel::Function& kernel, const Target& target,
                                void (*emit)(const kernel::Function&, const Target&, llvm::Module&),
                                llvm::CodeGenFileType type, bool reorder) {
  const std::string problem = kernel::verify_device(kernel);
  internal_check(problem.empty(), target.name, ": kernel ", kernel.name, ": ", problem);
  const std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(kernel.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  emit(kernel, target, module);
  verify_module(module);
  optimize(module, *machine);
  std::map<std::string, int64_t> frames;
  return generate(module, *machine, type, frames, reorder);
}

void GpuEmitter::emit_entry() {
  unsigned argument = 0;
  for (const kernel::BufferRef& buffer : kernel_.buffers)
    places_[buffer.get()] = {.base = function_->getArg(argument++)};
  for (const std::string& dim : kernel_.dims) dims_[dim] = function_->getArg(argument++);
  const kernel::SharedLayout layout = kernel::shared_layout(kernel_);
  if (layout.bytes == 0) return;
  auto* type = llvm::ArrayType::get(b_.getInt8Ty(), static_cast<uint64_t>(layout.bytes));
  auto* shared = new llvm::GlobalVariable(
      *function_->getParent(), type, false, llvm::GlobalValue::InternalLinkage, llvm::PoisonValue::get(type),
      kernel_.name + "_shared", nullptr, llvm::GlobalValue::NotThreadLocal, kSharedSpace);
  shared->setAlignment(llvm::Align(16));
  for (const kernel::SharedPlace& place : layout.places)
    places_[place.buffer.get()] = {.base =
                                       b_.CreateConstInBoundsGEP1_64(b_.getInt8Ty(), shared, place.offset)};
}

// One group a grid iteration, in x.
void GpuEmitter::emit_level(const Stmt& s) {
  const bool grid = s.loop == LoopKind::kGrid;
  const int64_t most = grid ? INT32_MAX : kernel::thread_count(kernel_);
  auto* number = llvm::cast<llvm::CallInst>(grid ? group_number() : thread_number());
  number->setMetadata(llvm::LLVMContext::MD_range,
                      llvm::MDBuilder(context_).createRange(llvm::APInt(32, 0),
                                                            llvm::APInt(32, static_cast<uint64_t>(most))));
  variables_[s.name] = number;
  emit_block(s.body);
}

void GpuEmitter::matrix(const Stmt&) {
  internal_error(str("kernel ", kernel_.name, ": matrices, which ", target_.name, " does not have"));
}

void GpuEmitter::emit_special(const Stmt& s) {
  if (s.kind == StmtKind::kMatrix) return matrix(s);
  internal_check(s.kind == StmtKind::kBarrier, "kernel ", kernel_.name, ": a statement that ", target_.name,
                 " does not have");
  barrier();
}

Value* GpuEmitter::emit_special(const Expr& e) {
  auto* halves = llvm::FixedVectorType::get(b_.getHalfTy(), 2);
  Value* v = value(e.operands[0]);
  const int number = static_cast<int>(e.int_value);
  switch (e.kind) {
    case ExprKind::kUnpackHalf:
      return b_.CreateFPExt(b_.CreateBitCast(v, halves), llvm::FixedVectorType::get(b_.getFloatTy(), 2));
    case ExprKind::kPackHalf: return b_.CreateBitCast(b_.CreateFPTrunc(v, halves), b_.getInt32Ty());
    case ExprKind::kHalfFma: {
      Value* result =
          b_.CreateIntrinsic(llvm::Intrinsic::fma, {halves},
                             {b_.CreateBitCast(v, halves), b_.CreateBitCast(value(e.operands[1]), halves),
                              b_.CreateBitCast(value(e.operands[2]), halves)});
      return b_.CreateBitCast(result, b_.getInt32Ty());
    }
    case ExprKind::kSubgroup: return combine(e);
    case ExprKind::kSubgroupXor:
      return each_lane(v, nullptr, [&](Value* a, Value*) { return exchange(a, number); });
    case ExprKind::kSubgroupBroadcast:
      return each_lane(v, nullptr, [&](Value* a, Value*) { return broadcast(a, number); });
    default:
      internal_error(str("kernel ", kernel_.name, ": an operation that ", target_.name, " does not have"));
  }
}

// A butterfly: both lanes of a pair add the same two values, so that all lanes end with equal bits.
Value* GpuEmitter::combine(const Expr& e) {
  Value* v = value(e.operands[0]);
  for (int step = kernel_.subgroup_size / 2; step > 0; step /= 2) {
    Value* other = each_lane(v, nullptr, [&](Value* a, Value*) { return exchange(a, step); });
    v = arithmetic(e.binary, v, other, e.type);
  }
  return v;
}

// The other operand for a NaN.
Value* GpuEmitter::float_min_max(bool is_min, Value* a, Value* b) {
  return b_.CreateBinaryIntrinsic(is_min ? llvm::Intrinsic::minnum : llvm::Intrinsic::maxnum, a, b);
}

// Operands of device functions are not negative.
Value* GpuEmitter::floor_divide(Value* a, Value* b, bool want_remainder) {
  return want_remainder ? b_.CreateURem(a, b) : b_.CreateUDiv(a, b);
}

// Global buffers start at multiples of 16 bytes, and an access of n lanes has an index that is a multiple of
// n.
llvm::Align GpuEmitter::alignment(const kernel::Buffer& buffer, const kernel::Type& type) const {
  const int lanes = std::max(type.lanes, buffer.element.lanes);
  return llvm::Align(static_cast<uint64_t>(size_of(buffer.element.dtype)) * static_cast<uint64_t>(lanes));
}

}  // namespace mlc::lang
