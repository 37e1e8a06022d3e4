// Matrices of a warp on NVIDIA's tensor cores: ldmatrix and mma.sync.
//
// Source: PTX ISA 8.5, 9.7.14.5, "Matrix multiply-accumulate operation using mma instruction", the figures of
// fragments of m16n8k8 and m16n8k16 for 16-bit floats, and "ldmatrix". A fragment is blocks of 8 by 8
// elements. Of a block of a factor a lane holds the pair 2 (lane % 4) of line lane / 4 in a register, which
// is what ldmatrix gives; of a sum's the same pair of its row, in a register each. Blocks follow each other
// down the rows first.
#include <llvm/IR/IntrinsicsNVPTX.h>

#include "base/check.h"
#include "lang/llvm/nvptx/emitter.h"

namespace mlc::lang {

using kernel::Buffer;
using kernel::Fragment;
using kernel::FragmentRef;
using kernel::MatrixOp;
using kernel::MatrixOrder;
using kernel::Stmt;
using llvm::Value;
namespace I = llvm::Intrinsic;

namespace {

constexpr int kBlock = 8;  // rows and columns of a block

// What ldmatrix loads at once, by number of blocks; `transposed` where lines in memory are not the
// fragment's.
I::ID load_of(int blocks, bool transposed) {
  switch (blocks) {
    case 1:
      return transposed ? I::nvvm_ldmatrix_sync_aligned_m8n8_x1_trans_b16
                        : I::nvvm_ldmatrix_sync_aligned_m8n8_x1_b16;
    case 2:
      return transposed ? I::nvvm_ldmatrix_sync_aligned_m8n8_x2_trans_b16
                        : I::nvvm_ldmatrix_sync_aligned_m8n8_x2_b16;
    case 4:
      return transposed ? I::nvvm_ldmatrix_sync_aligned_m8n8_x4_trans_b16
                        : I::nvvm_ldmatrix_sync_aligned_m8n8_x4_b16;
    default: internal_error("ldmatrix loads 1, 2 or 4 blocks");
  }
}

int row_blocks(const Fragment& f) { return f.rows / kBlock; }
int blocks(const Fragment& f) { return row_blocks(f) * (f.columns / kBlock); }
// Registers that a lane keeps of a fragment.
int registers(const Fragment& f) { return blocks(f) * (f.role == Fragment::Role::kSum ? 2 : 1); }

}  // namespace

// Element `index` of the fragments as registers of the lane, which the optimizer takes out of memory.
Value* PtxEmitter::fragment_register(const FragmentRef& f, int number) {
  const Fragment& fragment = f.buffer->fragment;
  llvm::Type* type = fragment.role == Fragment::Role::kSum ? b_.getFloatTy() : b_.getInt32Ty();
  Place& place = places_[f.buffer.get()];
  if (!place.base) {
    llvm::IRBuilderBase::InsertPointGuard guard(b_);
    llvm::BasicBlock& entry = function_->getEntryBlock();
    b_.SetInsertPoint(&entry, entry.begin());
    const int64_t count = f.buffer->size.constant() * registers(fragment);
    place.base =
        b_.CreateAlloca(llvm::ArrayType::get(type, static_cast<uint64_t>(count)), nullptr, f.buffer->name);
  }
  const int64_t at = f.index * registers(fragment) + number;
  return b_.CreateConstInBoundsGEP1_64(type, place.base, static_cast<uint64_t>(at));
}

std::vector<Value*> PtxEmitter::fragment_values(const FragmentRef& f) {
  const bool sum = f.buffer->fragment.role == Fragment::Role::kSum;
  auto* pair = llvm::FixedVectorType::get(b_.getHalfTy(), 2);
  std::vector<Value*> all;
  for (int i = 0; i < registers(f.buffer->fragment); ++i) {
    Value* v = b_.CreateLoad(sum ? b_.getFloatTy() : b_.getInt32Ty(), fragment_register(f, i));
    all.push_back(sum ? v : b_.CreateBitCast(v, pair));
  }
  return all;
}

void PtxEmitter::keep_fragment(const FragmentRef& f, Value* results) {
  for (int i = 0; i < registers(f.buffer->fragment); ++i) {
    Value* v =
        results->getType()->isStructTy() ? b_.CreateExtractValue(results, static_cast<unsigned>(i)) : results;
    if (v->getType()->isVectorTy()) v = b_.CreateBitCast(v, b_.getInt32Ty());
    b_.CreateStore(v, fragment_register(f, i));
  }
}

// The place in shared memory of element (line, along) of a fragment that begins at s.begin; `along` is
// counted in elements of `bytes`.
Value* PtxEmitter::fragment_place(const Stmt& s, Value* line, Value* along, int bytes) {
  const kernel::Type& element = s.memory->element;
  const int64_t line_bytes = s.stride * size_of(element.dtype) * element.lanes;
  Value* offset = b_.CreateAdd(b_.CreateMul(line, b_.getInt32(static_cast<uint32_t>(line_bytes))),
                               b_.CreateMul(along, b_.getInt32(static_cast<uint32_t>(bytes))));
  return b_.CreateInBoundsGEP(b_.getInt8Ty(), address(s.memory, element, value(s.begin)), offset);
}

// Lane l gives ldmatrix the address of line l % 8 of block l / 8. Lanes past the last block repeat addresses.
void PtxEmitter::load_factor(const Stmt& s, const FragmentRef& to) {
  const Fragment& f = s.buffer->fragment;
  const bool rows = s.order == MatrixOrder::kRows, own_lines_are_rows = f.role == Fragment::Role::kA;
  internal_check(s.order != MatrixOrder::kPairs, "kernel ", kernel_.name, ": pairs of rows on a GPU");
  Value* lane = b_.CreateIntrinsic(I::nvvm_read_ptx_sreg_laneid, {}, {});
  Value* block = b_.CreateAnd(b_.CreateLShr(lane, 3), b_.getInt32(static_cast<uint32_t>(blocks(f) - 1)));
  const auto down = static_cast<uint32_t>(row_blocks(f));  // 1 or 2
  Value* row = b_.CreateMul(b_.CreateURem(block, b_.getInt32(down)), b_.getInt32(kBlock));
  Value* column = b_.CreateMul(b_.CreateUDiv(block, b_.getInt32(down)), b_.getInt32(kBlock));
  Value* line = b_.CreateAdd(rows ? row : column, b_.CreateAnd(lane, b_.getInt32(kBlock - 1)));
  Value* from = fragment_place(s, line, rows ? column : row, 2);
  keep_fragment(
      to, b_.CreateIntrinsic(load_of(blocks(f), rows != own_lines_are_rows), {from->getType()}, {from}));
}

// Loads or stores a sum, a lane two neighbours in each block.
void PtxEmitter::move_sum(const Stmt& s, const FragmentRef& f) {
  const bool rows = s.order == MatrixOrder::kRows;
  Value* lane = b_.CreateIntrinsic(I::nvvm_read_ptx_sreg_laneid, {}, {});
  Value* row = b_.CreateLShr(lane, 2);
  Value* column = b_.CreateShl(b_.CreateAnd(lane, b_.getInt32(3)), 1);
  for (int i = 0; i < registers(s.buffer->fragment); ++i) {
    const int block = i / 2, down = row_blocks(s.buffer->fragment);
    Value* r = b_.CreateAdd(row, b_.getInt32(static_cast<uint32_t>(block % down * kBlock)));
    Value* c = b_.CreateAdd(column, b_.getInt32(static_cast<uint32_t>(block / down * kBlock + i % 2)));
    Value *place = fragment_place(s, rows ? r : c, rows ? c : r, 4), *own = fragment_register(f, i);
    if (s.matrix == MatrixOp::kLoad)
      b_.CreateStore(b_.CreateLoad(b_.getFloatTy(), place), own);
    else
      b_.CreateStore(b_.CreateLoad(b_.getFloatTy(), own), place);
  }
}

void PtxEmitter::matrix(const Stmt& s) {
  const FragmentRef to{s.buffer, s.index->int_value};
  const Fragment& f = s.buffer->fragment;
  switch (s.matrix) {
    case MatrixOp::kClear:
      for (int i = 0; i < registers(f); ++i)
        b_.CreateStore(llvm::ConstantFP::get(b_.getFloatTy(), 0), fragment_register(to, i));
      return;
    case MatrixOp::kMultiply: {
      std::vector<Value*> operands;
      for (const FragmentRef& factor : {s.factors[0], s.factors[1], to})
        for (Value* v : fragment_values(factor)) operands.push_back(v);
      const int depth = s.factors[0].buffer->fragment.columns;
      keep_fragment(to, b_.CreateIntrinsic(depth == 16 ? I::nvvm_mma_m16n8k16_row_col_f32_f32
                                                       : I::nvvm_mma_m16n8k8_row_col_f32_f32,
                                           {}, operands));
      return;
    }
    case MatrixOp::kLoad:
    case MatrixOp::kStore: return f.role == Fragment::Role::kSum ? move_sum(s, to) : load_factor(s, to);
  }
}

}  // namespace mlc::lang
