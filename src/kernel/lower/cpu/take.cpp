// take: rows of a table by index, as f32. A quantized table is read in whatever layout its matmul twin wants.
#include "kernel/lower/take.h"

#include <numeric>

#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/quantize.h"
#include "kernel/lower/cpu/weight_layouts.h"
#include "kernel/lower/lowerings.h"

namespace mlc::kernel {
namespace {

// The codes of a group as floats: vectors whose lanes together are the codes in order.
std::vector<ExprRef> decode(KernelBuilder& k, const WeightReader& weight, const ExprRef& row,
                            const ExprRef& group) {
  std::vector<ExprRef> words, pieces;
  for (int w = 0; w < 4; ++w) words.push_back(k.let("word", weight.words(row, group, int_const(w), 1)));
  const WeightFormat& f = weight.layout.format;
  auto add = [&](const ExprRef& codes) { pieces.push_back(k.let("codes", weight.centered(codes))); };
  if (weight.layout.tile_rows) {
    for (int s = 0; s < f.group / 4; ++s) add(weight.step(words, s));
    return pieces;
  }
  for (const ExprRef& word : words)
    for (int done = 0, lanes = 8; done < f.codes_per_word(); done += lanes) {
      while (lanes > f.codes_per_word() - done) lanes /= 2;
      ExprRef shift = ramp(int_const(done * f.bits, {DType::kU32, 1}), f.bits, lanes);
      add(binary(BinaryOp::kAnd, binary(BinaryOp::kShr, broadcast(word, lanes), shift),
                 int_const((1 << f.bits) - 1)));
    }
  return pieces;
}

// Stores elements [0, count) of a group in the order of k.
void store_group(CpuLowering& low, const WeightReader& weight, const Operand& out, const ExprRef& out_row,
                 const ExprRef& row, const ExprRef& group, int count) {
  KernelBuilder& k = low.k;
  std::vector<ExprRef> codes = decode(k, weight, row, group);
  ExprRef scale = k.let("scale", weight.scales(row, group, 1)), offset = weight.offsets(row, group, 1, scale);
  if (offset) offset = k.let("offset", offset);
  ExprRef at = k.let("at", out.at(out_row, group * weight.layout.format.group));
  for (int done = 0, lanes = 8; done < count; done += lanes) {
    while (lanes > count - done) lanes /= 2;
    std::vector<int> pattern(static_cast<size_t>(lanes));
    std::iota(pattern.begin(), pattern.end(), done);
    ExprRef values = shuffle(codes, pattern) * scale;
    low.store(out, at + done, offset ? values + offset : values);
  }
}

Function take_quantized(CpuLowering& low) {
  WeightLayout layout = weight_layout(low.type(0));
  BufferRef table = low.k.input("table", DType::kU8, layout.bytes());
  TableIndex at(low);
  Operand out = low.result();
  WeightReader weight{low.k, layout, table};
  low.for_rows(out.rows, [&](ExprRef r) {
    at.enter(r);
    int64_t size = layout.format.group;
    low.k.loop("group", 0, layout.k / size, LoopKind::kSerial,
               [&](ExprRef g) { store_group(low, weight, out, r, at.index, g, static_cast<int>(size)); });
    if (layout.k % size)
      store_group(low, weight, out, r, at.index, int_const(layout.k / size),
                  static_cast<int>(layout.k % size));
  });
  return low.k.finish();
}

// Rows of quantized activations: their bytes, as words.
Function take_codes(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Operand table = low.matrix(0, "table");
  TableIndex at(low);
  Operand out = low.result();
  low.for_rows(out.rows, [&](ExprRef r) {
    at.enter(r);
    QuantizedRow from(table, at.index), to(out, r);
    k.vector_loop("i", int_const(from.bytes() / 4), low.lanes(), [&](ExprRef i, int lanes) {
      k.store(out.buffer, to.base + i * 4, k.load_as({DType::kU32, lanes}, table.buffer, from.base + i * 4));
    });
  });
  return k.finish();
}

}  // namespace

Function lower_take(CpuLowering& low) {
  if (low.type(0).kind == graph::TensorType::Kind::kQ8Activation) return take_codes(low);
  return low.type(0).kind == graph::TensorType::Kind::kGroup ? take_quantized(low) : take_plain(low);
}

}  // namespace mlc::kernel
