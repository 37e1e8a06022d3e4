// Value conversions as LLVM IR that needs no run-time library.
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <numeric>

#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

using kernel::Type;
using llvm::Value;

namespace {

llvm::Type* like(Value* v, llvm::Type* scalar) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
  return vector ? llvm::FixedVectorType::get(scalar, vector->getNumElements()) : scalar;
}

Value* int_like(Value* v, uint64_t bits) { return llvm::ConstantInt::get(v->getType(), bits); }

Value* as_i32(Builder& b, Value* f) { return b.CreateBitCast(f, like(f, b.getInt32Ty())); }
Value* as_f32(Builder& b, Value* i) { return b.CreateBitCast(i, like(i, b.getFloatTy())); }
Value* float_like(Value* v, double x) { return llvm::ConstantFP::get(v->getType(), x); }

// binary16 bits (i16) -> f32. The 15 low bits moved into place are the value times 2^-112, exactly, also for
// subnormals.
Value* f16_to_f32(Builder& b, Value* half, bool native) {
  if (native)
    return b.CreateFPExt(b.CreateBitCast(half, like(half, b.getHalfTy())), like(half, b.getFloatTy()));
  Value* wide = b.CreateZExt(half, like(half, b.getInt32Ty()));
  Value* magnitude = b.CreateShl(b.CreateAnd(wide, 0x7FFF), 13);
  Value* scaled = as_i32(b, b.CreateFMul(as_f32(b, magnitude), float_like(as_f32(b, magnitude), 0x1p112)));
  Value* special = b.CreateICmpUGE(magnitude, int_like(magnitude, 0x7C00u << 13));
  Value* bits = b.CreateSelect(special, b.CreateOr(magnitude, 0x7F800000), scaled);
  return as_f32(b, b.CreateOr(bits, b.CreateShl(b.CreateAnd(wide, 0x8000), 16)));
}

// f32 -> binary16 bits, ties to even (base/half.h: f32_to_f16). Below 2^-14 the addition of 0.5, whose unit
// in the last place is 2^-24, rounds to the subnormal grid.
Value* f32_to_f16(Builder& b, Value* f, bool native) {
  llvm::Type* i16 = like(f, b.getInt16Ty());
  if (native) return b.CreateBitCast(b.CreateFPTrunc(f, like(f, b.getHalfTy())), i16);
  Value* all = as_i32(b, f);
  Value* bits = b.CreateAnd(all, 0x7FFFFFFF);
  Value* sign = b.CreateAnd(b.CreateLShr(all, 16), 0x8000);
  Value* odd = b.CreateAnd(b.CreateLShr(bits, 13), 1);
  Value* normal = b.CreateLShr(
      b.CreateSub(b.CreateAdd(b.CreateAdd(bits, int_like(bits, 0xFFF)), odd), int_like(bits, 0x38000000)),
      13);
  Value* magnitude = as_f32(b, bits);
  Value* subnormal =
      b.CreateSub(as_i32(b, b.CreateFAdd(magnitude, float_like(magnitude, 0.5))), int_like(bits, 0x3F000000));
  Value* half = b.CreateSelect(b.CreateICmpULT(bits, int_like(bits, 0x38800000)), subnormal, normal);
  half = b.CreateSelect(b.CreateICmpUGE(bits, int_like(bits, 0x477FF000)), int_like(bits, 0x7C00), half);
  half = b.CreateSelect(b.CreateICmpUGT(bits, int_like(bits, 0x7F800000)), int_like(bits, 0x7E00), half);
  return b.CreateTrunc(b.CreateOr(half, sign), i16);
}

Value* bf16_to_f32(Builder& b, Value* v) {
  return as_f32(b, b.CreateShl(b.CreateZExt(v, like(v, b.getInt32Ty())), 16));
}

// f32 -> bfloat16 bits, ties to even; past the largest finite value truncated (base/half.h: f32_to_bf16).
Value* f32_to_bf16(Builder& b, Value* f) {
  Value* bits = as_i32(b, f);
  Value* high = b.CreateLShr(bits, 16);
  Value* rounded =
      b.CreateLShr(b.CreateAdd(b.CreateAdd(bits, int_like(bits, 0x7FFF)), b.CreateAnd(high, 1)), 16);
  Value* large = b.CreateICmpUGE(b.CreateAnd(bits, 0x7FFFFFFF), int_like(bits, 0x7F7F0000));
  return b.CreateTrunc(b.CreateSelect(large, high, rounded), like(f, b.getInt16Ty()));
}

// The same by an instruction for 16 lanes, or for 32.
Value* f32_to_bf16_natively(Builder& b, Value* f, unsigned lanes) {
  Value* bits;
  if (lanes == 16) {
    bits = b.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_cvtneps2bf16_512, {}, {f});
  } else {
    llvm::SmallVector<int, 32> half(16);
    std::iota(half.begin(), half.end(), 0);
    Value* low = b.CreateShuffleVector(f, half);
    for (int& lane : half) lane += 16;
    bits = b.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_cvtne2ps2bf16_512, {},
                             {b.CreateShuffleVector(f, half), low});
  }
  return b.CreateBitCast(bits, like(f, b.getInt16Ty()));
}

// e4m3fn bits -> f32: no infinities, 0x7F is NaN; the exponent bias is 7, so the shifted bits are the value
// times 2^-120.
Value* e4m3_to_f32(Builder& b, Value* v) {
  Value* wide = b.CreateZExt(v, like(v, b.getInt32Ty()));
  Value* magnitude = b.CreateAnd(wide, 0x7F);
  Value* shifted = as_f32(b, b.CreateShl(magnitude, 20));
  Value* bits = as_i32(b, b.CreateFMul(shifted, float_like(shifted, 0x1p120)));
  bits = b.CreateSelect(b.CreateICmpEQ(magnitude, int_like(wide, 0x7F)), int_like(wide, 0x7FC00000), bits);
  return as_f32(b, b.CreateOr(bits, b.CreateShl(b.CreateAnd(wide, 0x80), 24)));
}

Value* widen(Builder& b, Value* v, DType from, const ConversionTarget& target) {
  switch (from) {
    case DType::kF16: return f16_to_f32(b, v, target.f16_convert);
    case DType::kBF16: return bf16_to_f32(b, v);
    case DType::kF8E4M3: return e4m3_to_f32(b, v);
    case DType::kF8E5M2:  // the high byte of a binary16
      return f16_to_f32(b, b.CreateShl(b.CreateZExt(v, like(v, b.getInt16Ty())), 8), target.f16_convert);
    default: internal_error("widen: not a small float");
  }
}

Value* narrow(Builder& b, Value* f, DType to, const ConversionTarget& target) {
  if (to == DType::kF16) return f32_to_f16(b, f, target.f16_convert);
  if (to == DType::kBF16) {
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(f->getType());
    const unsigned lanes = vector ? vector->getNumElements() : 1;
    return target.bf16_convert && (lanes == 16 || lanes == 32) ? f32_to_bf16_natively(b, f, lanes)
                                                               : f32_to_bf16(b, f);
  }
  internal_error(str("kernel IR: no conversion from f32 to ", short_name(to), " exists"));
}

Value* float_to_int(Builder& b, Value* v, const Type& to) {
  llvm::Type* type = value_type(b.getContext(), to);
  if (to.dtype == DType::kBool) return b.CreateFCmpUNE(v, float_like(v, 0));
  return is_signed_int(to.dtype) ? b.CreateFPToSI(v, type) : b.CreateFPToUI(v, type);
}

Value* from_int(Builder& b, Value* v, DType from, const Type& to) {
  llvm::Type* type = value_type(b.getContext(), to);
  bool is_signed = is_signed_int(from);
  if (to.dtype == DType::kBool) return b.CreateICmpNE(v, int_like(v, 0));
  if (is_float(to.dtype)) return is_signed ? b.CreateSIToFP(v, type) : b.CreateUIToFP(v, type);
  return b.CreateIntCast(v, type, is_signed);
}

// Adding and subtracting 2^23 (f64: 2^52) drops the fraction of any smaller magnitude, ties to even.
Value* round_by_addition(Builder& b, Value* v) {
  double magic = v->getType()->getScalarType()->isDoubleTy() ? 0x1p52 : 0x1p23;
  Value* magnitude = b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, v);
  Value* whole = b.CreateFSub(b.CreateFAdd(magnitude, float_like(v, magic)), float_like(v, magic));
  Value* rounded = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, whole, v);
  return b.CreateSelect(b.CreateFCmpOLT(magnitude, float_like(v, magic)), rounded, v);
}

}  // namespace

ConversionTarget conversion_target(const Target& target) {
  // x86 rounds in SSE4.1 and later: every level but the first has 32-byte vectors.
  return {.f16_convert = target.f16_convert,
          .native_rounding = is_arm(target) || is_wasm(target) || target.is_gpu() || target.vector_bytes > 16,
          .bf16_convert = target.bf16_convert};
}

Value* convert(Builder& b, Value* v, const Type& from, const Type& to, const ConversionTarget& target) {
  if (from.dtype == to.dtype) return v;
  if (is_small_float(from.dtype))
    return convert(b, widen(b, v, from.dtype, target), from.with_dtype(DType::kF32), to, target);
  if (is_small_float(to.dtype)) {
    internal_check(from.dtype != DType::kF64, "kernel IR: f64 to a 16-bit float would round twice");
    return narrow(b, convert(b, v, from, to.with_dtype(DType::kF32), target), to.dtype, target);
  }
  if (!is_float(from.dtype)) return from_int(b, v, from.dtype, to);
  if (!is_float(to.dtype)) return float_to_int(b, v, to);
  return b.CreateFPCast(v, value_type(b.getContext(), to));
}

Value* round_even(Builder& b, Value* v, const ConversionTarget& target) {
  if (target.native_rounding) return b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, v);
  return round_by_addition(b, v);
}

Value* round_down(Builder& b, Value* v, const ConversionTarget& target) {
  if (target.native_rounding) return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, v);
  Value* rounded = round_by_addition(b, v);
  Value* lower = b.CreateFSub(rounded, float_like(v, 1.0));
  return b.CreateSelect(b.CreateFCmpOGT(rounded, v), lower, rounded);
}

}  // namespace mlc::lang
