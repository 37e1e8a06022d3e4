// Matrices in registers: AMX tiles, which are numbered here, not by LLVM.
#include <llvm/IR/IntrinsicsX86.h>

#include <array>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/passes/rewrite.h"
#include "lang/llvm/emitter.h"

namespace mlc::lang {

using kernel::Fragment;
using kernel::FragmentRef;
using kernel::MatrixOp;
using kernel::Scope;
using kernel::Stmt;
using kernel::StmtKind;
using llvm::Value;

namespace {

constexpr size_t kTiles = 8;

// What ldtilecfg reads (Intel 64 and IA-32 Architectures SDM, volume 1, 18.3.2): palette 1, then at byte 16
// the bytes of a row of each tile as u16, at byte 48 its rows as u8. Lines of kB are pairs of rows.
class TileShapes {
 public:
  TileShapes() { bytes_[0] = 1; }
  void set(size_t tile, const Fragment& f) {
    const bool pairs = f.role == Fragment::Role::kB, sum = f.role == Fragment::Role::kSum;
    const int line = f.columns * (sum || pairs ? 4 : 2), lines = pairs ? f.rows / 2 : f.rows;
    internal_check(line <= 64 && lines <= 16, "no tile has ", lines, " lines of ", line, " bytes");
    bytes_[16 + 2 * tile] = static_cast<uint8_t>(line);
    bytes_[48 + tile] = static_cast<uint8_t>(lines);
  }
  const std::array<uint8_t, 64>& bytes() const { return bytes_; }

 private:
  std::array<uint8_t, 64> bytes_{};
};

}  // namespace

void FunctionEmitter::configure_tiles() {
  TileShapes shapes;
  size_t used = 0;
  kernel::for_each_statement(kernel_.body, [&](const Stmt& s) {
    if (s.kind != StmtKind::kAlloc || s.buffer->scope != Scope::kFragment) return;
    tiles_[s.buffer.get()] = used;
    for (int64_t i = 0; i < s.buffer->size.constant(); ++i) {
      internal_check(used < kTiles, "kernel ", kernel_.name, " has more matrices than the CPU has tiles");
      shapes.set(used++, s.buffer->fragment);
    }
  });
  if (used == 0) return;
  auto* data = llvm::ConstantDataArray::get(context_, llvm::ArrayRef<uint8_t>(shapes.bytes()));
  auto* global =
      new llvm::GlobalVariable(*function_->getParent(), data->getType(), true,
                               llvm::GlobalValue::PrivateLinkage, data, function_->getName() + ".tiles");
  global->setAlignment(llvm::Align(64));
  b_.CreateIntrinsic(llvm::Intrinsic::x86_ldtilecfg, {}, {global});
}

void FunctionEmitter::release_tiles() {
  if (!tiles_.empty()) b_.CreateIntrinsic(llvm::Intrinsic::x86_tilerelease, {}, {});
}

Value* FunctionEmitter::tile(const FragmentRef& f) {
  auto found = tiles_.find(f.buffer.get());
  internal_check(found != tiles_.end(), "kernel IR: fragments ", f.buffer->name, " are not in scope");
  return b_.getInt8(static_cast<uint8_t>(found->second + static_cast<size_t>(f.index)));
}

void FunctionEmitter::emit_matrix(const Stmt& s) {
  Value* to = tile({s.buffer, s.index->int_value});
  if (s.matrix == MatrixOp::kClear) {
    b_.CreateIntrinsic(llvm::Intrinsic::x86_tilezero, {}, {to});
    return;
  }
  if (s.matrix == MatrixOp::kMultiply) {
    b_.CreateIntrinsic(llvm::Intrinsic::x86_tdpbf16ps, {}, {to, tile(s.factors[0]), tile(s.factors[1])});
    return;
  }
  const bool pairs = s.order == kernel::MatrixOrder::kPairs,
             of_b = s.buffer->fragment.role == Fragment::Role::kB;
  internal_check(pairs == of_b && s.order != kernel::MatrixOrder::kColumns, "kernel ", kernel_.name,
                 ": no tile is loaded in this order from ", s.memory->name);
  Value* place = address(s.memory, s.memory->element, value(s.begin));
  Value* stride = b_.getInt64(static_cast<uint64_t>(s.stride * size_of(s.memory->element.dtype)));
  b_.CreateIntrinsic(
      s.matrix == MatrixOp::kLoad ? llvm::Intrinsic::x86_tileloadd64 : llvm::Intrinsic::x86_tilestored64, {},
      {to, place, stride});
}

}  // namespace mlc::lang
