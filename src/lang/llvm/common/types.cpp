// LLVM types of kernel values and of what they are in memory.
#include "base/check.h"
#include "lang/llvm/common/emitter.h"

namespace mlc::lang {
namespace {

llvm::Type* scalar_type(llvm::LLVMContext& context, DType type) {
  switch (type) {
    case DType::kBool: return llvm::Type::getInt1Ty(context);
    case DType::kF32: return llvm::Type::getFloatTy(context);
    case DType::kF64: return llvm::Type::getDoubleTy(context);
    default: return llvm::Type::getIntNTy(context, 8 * size_of(type));
  }
}

llvm::Type* with_lanes(llvm::Type* scalar, int lanes) {
  internal_check(lanes >= 1, "kernel IR: a value has at least one lane");
  return lanes == 1 ? scalar : llvm::FixedVectorType::get(scalar, lanes);
}

}  // namespace

bool is_small_float(DType type) { return is_float(type) && type != DType::kF32 && type != DType::kF64; }

bool is_arm(const Target& target) { return target.triple.rfind("aarch64", 0) == 0; }

bool is_wasm(const Target& target) { return target.triple.rfind("wasm32", 0) == 0; }

llvm::Type* value_type(llvm::LLVMContext& context, const kernel::Type& type) {
  return with_lanes(scalar_type(context, type.dtype), type.lanes);
}

llvm::Type* memory_type(llvm::LLVMContext& context, const kernel::Type& type) {
  if (type.dtype == DType::kBool) return with_lanes(llvm::Type::getInt8Ty(context), type.lanes);
  return value_type(context, type);
}

}  // namespace mlc::lang
