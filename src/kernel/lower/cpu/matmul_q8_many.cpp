// The int8 matmul for many activation rows. A panel, the weights of some vectors over a chunk of K, is
// expanded to bytes in L1 and meets a block of activation rows, which stays in L2, in register tiles; then
// the next chunk. The sums of the block lie in cache from chunk to chunk.
#include <algorithm>

#include "kernel/lower/cpu/matmul_q8.h"

namespace mlc::kernel {
namespace {

struct Panel {
  Q8Matmul& mm;
  int vectors = 1;             // of a half
  int64_t chunks = 1;          // of K; with only one the sums of a tile are kept, not those of the block
  BufferRef codes = nullptr;   // shared u8 [group of the chunk][step][slot][4 * lanes]
  BufferRef scales = nullptr;  // shared f32 [group of the chunk][slot][lanes]
  BufferRef sums = nullptr;    // shared f32 [row of the block or tile][slot][lanes]
  std::vector<ExprRef> columns = {};  // first column of each vector

  int slots() const { return vectors * mm.halves(); }  // slot v * halves + h
  ExprRef codes_at(const ExprRef& g) const { return g * (slots() * mm.group_size() * mm.lanes); }
  ExprRef scales_at(const ExprRef& g) const { return g * (slots() * mm.lanes); }

  void expand(const ExprRef& first_group, const ExprRef& count);
  void group(const QuantizedRow& first, const ExprRef& chunk_group, const ExprRef& g, int rows,
             const BufferRef& to, const ExprRef& to_at);
  void tile(const ExprRef& block_row, const ExprRef& row, int rows, const ExprRef& first_group,
            const ExprRef& count);
  void begin(const BufferRef& to, const ExprRef& to_at, int rows, const ExprRef& sums_at,
             const ExprRef& first_group);
  void store(const ExprRef& sums_at, const ExprRef& row, int rows);
};

void Panel::expand(const ExprRef& first_group, const ExprRef& count) {
  KernelBuilder& k = mm.k;
  k.loop("group", int_const(0), count, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef g = k.let("g", first_group + i);
    ExprRef to = k.let("codes_at", codes_at(i)), scale_to = k.let("scales_at", scales_at(i));
    for (int slot = 0; slot < slots(); ++slot) {
      ExprRef row = mm.weight_row(columns[size_t(slot / mm.halves())], slot % mm.halves());
      std::vector<ExprRef> w = mm.unpack(row, g);
      for (int s = 0; s < mm.steps(); ++s)
        k.store(codes, to + (s * slots() + slot) * 4 * mm.lanes,
                bitcast(w[size_t(s)], {DType::kU8, 4 * mm.lanes}));
      k.store(scales, scale_to + slot * mm.lanes, mm.weight.scales(row, g, mm.lanes));
    }
  });
}

// Adds the products of one group to the sums of `rows` rows, which lie at to[to_at ..]: registers, or the
// block's sums.
void Panel::group(const QuantizedRow& first, const ExprRef& chunk_group, const ExprRef& g, int rows,
                  const BufferRef& to, const ExprRef& to_at) {
  KernelBuilder& k = mm.k;
  Q8Matmul::Group at = mm.activation_group(first, g);
  ExprRef from = k.let("codes_at", codes_at(chunk_group)),
          scale_from = k.let("scales_at", scales_at(chunk_group));
  std::vector<ExprRef> dots;  // [row][slot]
  for (int m = 0; m < rows; ++m) {
    ExprRef start = mm.starts_first() ? k.let("start", mm.activation_start(at, m)) : nullptr;
    dots.insert(dots.end(), static_cast<size_t>(slots()), mm.begin(start));
  }
  auto shared = [&](const char* name, ExprRef value) { return slots() > 1 ? k.let(name, value) : value; };
  for (int s = 0; s < mm.steps(); ++s) {
    std::vector<ExprRef> w;
    for (int slot = 0; slot < slots(); ++slot) {
      ExprRef bytes = k.load(codes, from + (s * slots() + slot) * 4 * mm.lanes, 4 * mm.lanes);
      w.push_back(k.let("codes", bitcast(bytes, mm.bytes())));
    }
    for (int m = 0; m < rows; ++m) {
      ExprRef four = shared("x", mm.activation(at, m, s));
      for (int slot = 0; slot < slots(); ++slot) {
        ExprRef& dot = dots[static_cast<size_t>(m * slots() + slot)];
        dot = mm.step(dot, w[static_cast<size_t>(slot)], four);
      }
    }
  }
  std::vector<ExprRef> scale;
  for (int slot = 0; slot < slots(); ++slot) {
    ExprRef value = k.load(scales, scale_from + slot * mm.lanes, mm.lanes);
    // Where registers are short, an operand in memory.
    scale.push_back(mm.schedule.sums_in_registers ? k.let("scale", value) : value);
  }
  int unit = to->scope == Scope::kRegister ? 1 : mm.lanes;
  for (int m = 0; m < rows; ++m) {
    ExprRef start = mm.starts_last() ? shared("start", mm.activation_start(at, m)) : nullptr;
    ExprRef x_scale = shared("x_scale", mm.activation_scale(at, m));
    for (int slot = 0; slot < slots(); ++slot) {
      ExprRef total = mm.finish(dots[static_cast<size_t>(m * slots() + slot)], start);
      ExprRef index = to_at + (m * slots() + slot) * unit;
      k.store(to, index, fma(total, scale[static_cast<size_t>(slot)] * x_scale, k.load(to, index, mm.lanes)));
    }
  }
}

// The sums of `rows` rows at the start of a chunk, at to[to_at ..]: zero for the first one.
void Panel::begin(const BufferRef& to, const ExprRef& to_at, int rows, const ExprRef& sums_at,
                  const ExprRef& first_group) {
  KernelBuilder& k = mm.k;
  int unit = to->scope == Scope::kRegister ? 1 : mm.lanes;
  auto each = [&](const std::function<ExprRef(int)>& value) {
    for (int i = 0; i < rows * slots(); ++i) k.store(to, to_at + i * unit, value(i));
  };
  auto zero = [&] { each([&](int) { return float_const(0, {DType::kF32, mm.lanes}); }); };
  if (chunks == 1) return zero();
  auto continued = [&] { each([&](int i) { return k.load(sums, sums_at + i * mm.lanes, mm.lanes); }); };
  k.branch(binary(BinaryOp::kEq, first_group, int_const(0)), zero,
           to == sums ? std::function<void()>() : continued);
}

// Rows [row, row + rows), which are rows block_row .. of the block, meet the chunk of groups in the panel.
void Panel::tile(const ExprRef& block_row, const ExprRef& row, int rows, const ExprRef& first_group,
                 const ExprRef& count) {
  KernelBuilder& k = mm.k;
  QuantizedRow first(mm.x, row);
  first.base = k.let("x_at", first.base);
  ExprRef sums_at = chunks == 1 ? int_const(0) : k.let("sums_at", block_row * (slots() * mm.lanes));
  bool in_registers = mm.schedule.sums_in_registers;
  BufferRef to = in_registers ? k.registers("sum", {DType::kF32, mm.lanes}, rows * slots()) : sums;
  ExprRef to_at = in_registers ? int_const(0) : sums_at;
  begin(to, to_at, rows, sums_at, first_group);
  k.loop("group", int_const(0), count, LoopKind::kSerial,
         [&](ExprRef i) { group(first, i, k.let("g", first_group + i), rows, to, to_at); });
  for (int i = 0; in_registers && i < rows * slots(); ++i)
    k.store(sums, sums_at + i * mm.lanes, k.load(to, int_const(i)));
  if (chunks == 1) return store(sums_at, row, rows);
  k.branch(binary(BinaryOp::kEq, first_group + count, int_const(mm.groups())),
           [&] { store(sums_at, row, rows); });
}

// Finishes `rows` rows from their sums.
void Panel::store(const ExprRef& sums_at, const ExprRef& row, int rows) {
  KernelBuilder& k = mm.k;
  k.loop("m", 0, rows, LoopKind::kSerial, [&](ExprRef m) {
    mm.store(k.let("row", row + m), columns, sums, k.let("at", sums_at + m * (slots() * mm.lanes)));
  });
}

// `count` rows from `first` on pass the panel of each chunk in turn.
void multiply_block(Panel& panel, int rows, int64_t chunk, const ExprRef& first, const ExprRef& count) {
  Q8Matmul& mm = panel.mm;
  KernelBuilder& k = mm.k;
  ExprRef whole = k.let("whole", count / rows), done = k.let("done", whole * rows);
  auto pass = [&](const ExprRef& begin, const ExprRef& groups) {
    panel.expand(begin, groups);
    k.loop("tile", int_const(0), whole, LoopKind::kSerial, [&](ExprRef t) {
      ExprRef row = k.let("m0", t * rows);
      panel.tile(row, k.let("row", first + row), rows, begin, groups);
    });
    if (rows > 1)
      k.loop("rest", done, count - done, LoopKind::kSerial,
             [&](ExprRef row) { panel.tile(row, k.let("row", first + row), 1, begin, groups); });
  };
  if (panel.chunks == 1) return pass(int_const(0), int_const(mm.groups()));
  k.loop("chunk", 0, panel.chunks, LoopKind::kSerial, [&](ExprRef c) {
    ExprRef begin = k.let("begin", c * chunk);
    pass(begin, k.let("groups", binary(BinaryOp::kMin, int_const(chunk), int_const(mm.groups()) - begin)));
  });
}

}  // namespace

void matmul_many_rows(Q8Matmul& mm) {
  KernelBuilder& k = mm.k;
  const MatmulSchedule& schedule = mm.schedule;
  int vectors = std::max(1, schedule.panel_vectors / mm.halves());
  int rows = std::max(1, schedule.panel_rows * schedule.panel_vectors / (vectors * mm.halves()));
  int64_t panels = (mm.vectors + vectors - 1) / vectors;
  const int64_t panel_groups = int64_t{schedule.panel_groups} * 32 / mm.group_size();
  int64_t chunks = (mm.groups() + panel_groups - 1) / panel_groups;
  int64_t chunk = (mm.groups() + chunks - 1) / chunks;
  int64_t limit =
      std::min<int64_t>(schedule.block_bytes / QuantizedRow(mm.x, int_const(0)).bytes(), schedule.block_rows);
  limit = std::max<int64_t>(1, limit / rows) * rows;  // rows of a block
  auto begin_tile = [&](const ExprRef& index) {
    Panel panel{mm, vectors, chunks};
    int64_t columns = int64_t{panel.slots()} * mm.lanes;
    panel.codes = k.shared("codes", DType::kU8, chunk * mm.group_size() * columns);
    panel.scales = k.shared("scales", DType::kF32, chunk * columns);
    panel.sums = k.shared("sums", DType::kF32, (chunks == 1 ? rows : limit) * columns);
    panel.columns = mm.tile_columns(k.let("column", index * (vectors * mm.lanes)), vectors);
    return panel;
  };
  if (mm.experts.any())  // so many panels that a tile can have all blocks of one
    return for_matrix_tiles(mm.low, mm.experts, panels, [&](ExprRef tile, const RowRun& run) {
      mm.matrix_row = run.weight_row;
      Panel panel = begin_tile(tile);
      for_row_blocks(k, run, static_cast<int>(limit), [&](const RowRun& block) {
        ExprRef count = binary(BinaryOp::kMin, int_const(limit), block.end - block.row);
        multiply_block(panel, rows, chunk, block.row, k.let("count", count));
      });
    });
  k.grid("tile", Dim(panels) * ceildiv(mm.x.rows, limit), [&](ExprRef tile) {
    Panel panel = begin_tile(tile % panels);
    RowBlock block = row_block(k, mm.x.rows, limit, rows, tile / panels);
    multiply_block(panel, rows, chunk, block.first, block.count);
  });
}

}  // namespace mlc::kernel
