// lora_shrink, lora_expand: a row times the matrix of its adapter. Matrices lie with their columns side by
// side, so that neighbouring lanes read neighbouring elements; a row without an adapter reads none.
#include "graph/ops/lora.h"

#include <algorithm>
#include <numeric>

#include "kernel/lower/lowerings.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kBlock = 128;  // columns of a tile at most: one row's are shared by threads
constexpr int kChains = 4;       // independent sums hide the latency of a multiply-add

// Where the matrix of a row's adapter lies in a stack.
class AdapterMatrix {
 public:
  // Declares inputs 1 and 2.
  explicit AdapterMatrix(Lowering& low)
      : stack(low.matrix(1, "stack")), low_(low), adapters_(low.vector(2, "adapter")) {}

  void enter(const ExprRef& row) {
    KernelBuilder& k = low_.k;
    const int64_t height = low_.type(1).shape[1].constant();
    ExprRef adapter = k.let("adapter", low_.load_index(adapters_, row));
    ExprRef none = binary(BinaryOp::kLt, adapter, int_const(0));
    first_ = k.let("first", binary(BinaryOp::kMax, adapter, int_const(0)) * height);
    rows_ = k.let("rows", select(none, int_const(0), int_const(height)));
  }

  // The sum over the matrix's rows i of x(i) times lanes of its columns from `column` on; x is a scalar.
  ExprRef sum(const ExprRef& column, int lanes, const std::function<ExprRef(const ExprRef&)>& x) const {
    KernelBuilder& k = low_.k;
    const int64_t height = low_.type(1).shape[1].constant();
    const int chains = height % kChains == 0 ? kChains : 1;
    BufferRef sums = k.registers("sums", {DType::kF32, lanes}, chains);
    for (int c = 0; c < chains; ++c) k.store(sums, int_const(c), float_const(0, {DType::kF32, lanes}));
    k.loop("i", int_const(0), rows_ / chains, LoopKind::kSerial, [&](ExprRef step) {
      for (int c = 0; c < chains; ++c) {
        ExprRef i = k.let("row", step * chains + c);
        ExprRef weights = low_.load(stack, stack.at(first_ + i, column), lanes);
        k.store(sums, int_const(c), fma(broadcast(x(i), lanes), weights, k.load(sums, int_const(c))));
      }
    });
    ExprRef total = k.load(sums, int_const(0));
    for (int c = 1; c < chains; ++c) total = k.let("total", total + k.load(sums, int_const(c)));
    return k.let("total", total);
  }

  const Operand stack;

 private:
  Lowering& low_;
  Operand adapters_;
  ExprRef first_, rows_;
};

// All columns of `out`, in blocks that divide each of the widths.
void for_each_block(Lowering& low, const Operand& out, const std::vector<int64_t>& widths, int lanes,
                    AdapterMatrix& matrix, const std::function<void(const Unit&)>& body) {
  int64_t block = kBlock;
  for (int64_t n : widths) block = std::gcd(block, n);
  low.for_each_unit({.rows = out.rows,
                     .heads = out.columns / block,
                     .head_size = block,
                     .parts = {{block, lanes, false, body}},
                     .enter = [&](const ExprRef& row) { matrix.enter(row); },
                     .apart = true});
}

}  // namespace

Function lower_lora_shrink(Lowering& low) {
  Operand x = low.matrix(0, "x");
  AdapterMatrix matrix(low);
  Operand out = low.result();
  const int lanes = std::min(matrix.stack.lanes(), out.lanes());
  for_each_block(low, out, {out.columns}, lanes, matrix, [&](const Unit& u) {
    auto element = [&](const ExprRef& i) { return low.load(x, x.at(u.row, i)); };
    low.store(out, u, matrix.sum(u.column(), u.lanes, element));
  });
  return low.k.finish();
}

Function lower_lora_expand(Lowering& low) {
  Operand t = low.matrix(0, "t");
  AdapterMatrix matrix(low);
  Operand out = low.result();
  const std::vector<int64_t> parts = graph::lora_parts(low.node);
  const int64_t rank = low.type(1).shape[1].constant();
  const int lanes = std::min(matrix.stack.lanes(), out.lanes());
  for_each_block(low, out, parts, lanes, matrix, [&](const Unit& u) {
    ExprRef first = int_const(0);  // of t, by the part that the block lies in
    int64_t end = 0;
    for (size_t p = 0; p + 1 < parts.size(); ++p)
      first = select(less(u.head, int_const(end += parts[p])), first,
                     int_const(static_cast<int64_t>(p + 1) * rank));
    first = low.k.let("part", first);
    auto element = [&](const ExprRef& j) { return low.load(t, t.at(u.row, first + j)); };
    low.store(out, u, matrix.sum(u.column(), u.lanes, element));
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
