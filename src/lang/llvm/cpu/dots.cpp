// The dot-product instructions: one row per node, operand types, lanes and target feature.
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsAArch64.h>
#include <llvm/IR/IntrinsicsWebAssembly.h>
#include <llvm/IR/IntrinsicsX86.h>

#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/cpu/emitter.h"

namespace mlc::lang {

using kernel::ExprKind;
using llvm::Value;

namespace {

// How the operands reach the intrinsic.
enum class Form {
  kAccumulateWords,  // (acc, a, b), bytes seen as i32 lanes; overloaded on nothing
  kAccumulateBytes,  // (acc, a, b), overloaded on the accumulator's and the bytes' type
  kPlain,            // (a, b)
};

struct Row {
  ExprKind node;
  DType a;                   // element type of the first factor
  int lanes;                 // of the result
  const char* architecture;  // that the target's triple begins with
  bool Target::* feature;
  llvm::Intrinsic::ID intrinsic;
  Form form;
};

namespace I = llvm::Intrinsic;
constexpr const char *kX86 = "x86_64", *kArm = "aarch64", *kWasm = "wasm32";
constexpr Row kRows[] = {
    {ExprKind::kDot4, DType::kU8, 4, kX86, &Target::dot4_u8s8, I::x86_avx512_vpdpbusd_128,
     Form::kAccumulateWords},
    {ExprKind::kDot4, DType::kU8, 8, kX86, &Target::dot4_u8s8, I::x86_avx512_vpdpbusd_256,
     Form::kAccumulateWords},
    {ExprKind::kDot4, DType::kU8, 16, kX86, &Target::dot4_u8s8, I::x86_avx512_vpdpbusd_512,
     Form::kAccumulateWords},
    {ExprKind::kDot4, DType::kI8, 4, kArm, &Target::dot4_s8s8, I::aarch64_neon_sdot, Form::kAccumulateBytes},
    {ExprKind::kDot4, DType::kI8, 2, kArm, &Target::dot4_s8s8, I::aarch64_neon_sdot, Form::kAccumulateBytes},
    {ExprKind::kDot4, DType::kU8, 4, kArm, &Target::dot4_u8s8, I::aarch64_neon_usdot, Form::kAccumulateBytes},
    {ExprKind::kDot4, DType::kU8, 2, kArm, &Target::dot4_u8s8, I::aarch64_neon_usdot, Form::kAccumulateBytes},
    {ExprKind::kDot2U8S8, DType::kU8, 8, kX86, &Target::dot2_u8s8, I::x86_ssse3_pmadd_ub_sw_128,
     Form::kPlain},
    {ExprKind::kDot2U8S8, DType::kU8, 16, kX86, &Target::dot2_u8s8, I::x86_avx2_pmadd_ub_sw, Form::kPlain},
    {ExprKind::kDot2U8S8, DType::kU8, 32, kX86, &Target::dot2_u8s8, I::x86_avx512_pmaddubs_w_512,
     Form::kPlain},
    {ExprKind::kDot2I16, DType::kI16, 4, kX86, &Target::dot2_i16, I::x86_sse2_pmadd_wd, Form::kPlain},
    {ExprKind::kDot2I16, DType::kI16, 8, kX86, &Target::dot2_i16, I::x86_avx2_pmadd_wd, Form::kPlain},
    {ExprKind::kDot2I16, DType::kI16, 16, kX86, &Target::dot2_i16, I::x86_avx512_pmaddw_d_512, Form::kPlain},
    {ExprKind::kDot2I16, DType::kI16, 4, kWasm, &Target::dot2_i16, I::wasm_dot, Form::kPlain},
};

const Row* find_row(const kernel::Expr& node, const Target& target) {
  for (const Row& row : kRows)
    if (row.node == node.kind && row.a == node.operands[0]->type.dtype && row.lanes == node.type.lanes &&
        target.triple.starts_with(row.architecture) && target.*row.feature &&
        (is_arm(target) || node.type.lanes * size_of(node.type.dtype) <= target.vector_bytes))
      return &row;
  return nullptr;
}

}  // namespace

Value* emit_dot(Builder& b, const kernel::Expr& node, const std::vector<Value*>& operands,
                const Target& target) {
  const Row* row = find_row(node, target);
  if (!row)
    internal_error(str("kernel IR: ", target.name, " has no dot product ", node.operands[0]->type.text(),
                       " -> ", node.type.text(), "; legalize should have expanded it"));
  switch (row->form) {
    case Form::kAccumulateWords: {
      llvm::Type* words = operands[2]->getType();
      return b.CreateIntrinsic(
          row->intrinsic, {},
          {operands[2], b.CreateBitCast(operands[0], words), b.CreateBitCast(operands[1], words)});
    }
    case Form::kAccumulateBytes:
      return b.CreateIntrinsic(row->intrinsic, {operands[2]->getType(), operands[0]->getType()},
                               {operands[2], operands[0], operands[1]});
    case Form::kPlain: return b.CreateIntrinsic(row->intrinsic, {}, {operands[0], operands[1]});
  }
  internal_error("emit_dot: unknown form");
}

}  // namespace mlc::lang
