// Many rows on GPUs: tiles of weights and activations in shared memory, a register tile in each thread.
//
// A step along K is one group of the weight. Both tiles lie [k][row] with rows of odd length, so that the
// words of a load, unpacked to neighbouring k, and the lanes of a compute step fall into different banks. The
// weight rows of a tile lie in the order of their scales (gpu_weight.h), so that the threads of a load share
// the sectors of scales too.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernel/lower/gpu/matmul.h"

namespace mlc::kernel {
namespace {

struct SharedTile : GroupTile {
  using GroupTile::GroupTile;
  int per_thread_n = 0, per_thread_m = 0;
  BufferRef weights, inputs;  // shared

  int threads() const { return width / per_thread_n * (height / per_thread_m); }
  // Operand of a row's group that a thread unpacks: 16 or 32 lanes have 16 rows, whose f16 scales are a
  // sector.
  int words_at_once() const { return gpu.lanes < 32 ? 4 : 2; }
  int64_t weight_stride() const { return width + 1; }
  int64_t input_stride() const { return height + 1; }
  void load_weights(const ExprRef& g);
  void load_inputs(GroupReader& reader, const ExprRef& g);
  void multiply(const BufferRef& acc);
  void store(const BufferRef& acc);
};

// Lanes take the words of a row, then the next row.
void SharedTile::load_weights(const ExprRef& g) {
  int at_once = words_at_once(), per_word = w.format.codes_per_word();
  auto unpack = [&](const ExprRef& task) {
    ExprRef part = k().let("part", task % (4 / at_once)), local = k().let("local", task / (4 / at_once));
    ExprRef row = weight_row(local), place = k().let("place", w.place(row, g));
    ExprRef bits = k().let("bits", k().load(weight, place * 4 + part * at_once, at_once));
    const GroupScale s = w.scales(k(), weight, w.scale_place(row, g, place))[0];
    ExprRef scale = k().let("scale", s.scale), zero = k().let("zero", w.code_zero({scale, s.offset}));
    ExprRef to = k().let("to", part * (at_once * per_word * weight_stride()) + local);
    for (int word = 0; word < at_once; ++word)
      for (int p = 0; p < per_word; ++p) {
        ExprRef codes = w.codes_at(k(), extract(bits, word), p);
        ExprRef value = fma(codes, scale * std::ldexp(1.0, -w.code_exponent(p)), zero);
        k().store(weights, to + (word * per_word + p) * weight_stride(), value);
      }
  };
  // Threads without a task read nothing.
  gpu.for_units(int64_t{width} * 4 / at_once, threads(), thread,
                [&](ExprRef task, ExprRef inside) { gpu.where(inside, [&] { unpack(task); }); });
}

// Rows past the last are not read; what comes of them is not stored.
void SharedTile::load_inputs(GroupReader& reader, const ExprRef& g) {
  int64_t vectors = w.format.group / 4;
  gpu.for_units(vectors * height, threads(), thread, [&](ExprRef task, ExprRef inside) {
    ExprRef vector = k().let("vector", task % vectors), local = k().let("local", task / vectors);
    ExprRef row = k().let("row", first_row + local), exists = less(row, end);
    gpu.where(inside ? binary(BinaryOp::kAnd, inside, exists) : exists, [&] {
      ExprRef v = reader.elements(row, g, vector), to = k().let("to", vector * (4 * input_stride()) + local);
      for (int i = 0; i < 4; ++i) k().store(inputs, to + i * input_stride(), extract(v, i));
    });
  });
}

void SharedTile::multiply(const BufferRef& acc) {
  int along_n = width / per_thread_n, along_m = height / per_thread_m;
  // The place of row n + j * along_n: powers of two, so that each bit of a row's number is a bit of its
  // place.
  auto place = [](int64_t row) { return row / kLaneRows * kLaneRows + row % 8 * 4 + row % kLaneRows / 8; };
  ExprRef row = k().let("row", thread % along_n), m = k().let("m", thread / along_n);
  ExprRef n = k().let("n", row / kLaneRows * kLaneRows + row % 8 * 4 + row % kLaneRows / 8);
  constexpr int kWrittenOut = 4;  // steps of k per loop step
  k().loop("k", 0, w.format.group / kWrittenOut, LoopKind::kSerial, [&](ExprRef block) {
    ExprRef n_at = k().let("n_at", block * (kWrittenOut * weight_stride()) + n);
    ExprRef m_at = k().let("m_at", block * (kWrittenOut * input_stride()) + m);
    for (int step = 0; step < kWrittenOut; ++step) {
      std::vector<ExprRef> a, b;
      for (int j = 0; j < per_thread_n; ++j)
        a.push_back(
            k().let("a", k().load(weights, n_at + (step * weight_stride() + place(int64_t{j} * along_n)))));
      for (int i = 0; i < per_thread_m; ++i)
        b.push_back(k().let("b", k().load(inputs, m_at + (step * input_stride() + i * along_m))));
      for (int j = 0; j < per_thread_n; ++j)
        for (int i = 0; i < per_thread_m; ++i) {
          ExprRef at = int_const(j * per_thread_m + i);
          k().store(acc, at, fma(a[size_t(j)], b[size_t(i)], k().load(acc, at)));
        }
    }
  });
}

void SharedTile::store(const BufferRef& acc) {
  int along_n = width / per_thread_n, along_m = height / per_thread_m,
      pairs = per_thread_n / epilogue.halves();
  for (int i = 0; i < per_thread_m; ++i) {
    ExprRef row = k().let("row", first_row + (thread / along_n + i * along_m));
    k().branch(less(row, end), [&] {
      for (int j = 0; j < pairs; ++j) {
        std::vector<ExprRef> values;
        for (int h = 0; h < epilogue.halves(); ++h)
          values.push_back(k().let("y", k().load(acc, int_const((h * pairs + j) * per_thread_m + i))));
        ExprRef column = k().let("column", first_column + (thread % along_n + j * along_n));
        gpu.where(epilogue.columns() % columns() ? less(column, int_const(epilogue.columns())) : nullptr,
                  [&] { epilogue.store(row, column, values); });
      }
    });
  }
}

}  // namespace

Function gpu_matmul_shared(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  SharedTile tile(gpu);
  const GpuSchedule& s = tile.gpu.schedule;
  const LaneWeight& w = tile.w;
  int height = s.tile_height, rows = s.tile_rows;
  // Few rows: a lower tile, fewer rows a thread.
  auto most = static_cast<unsigned>(gpu.options.max_rows);
  while (most && rows > 1 && height / 2 >= static_cast<int>(std::bit_ceil(most))) height /= 2, rows /= 2;
  tile.width = s.tile_width, tile.height = height;
  tile.per_thread_n = s.tile_columns, tile.per_thread_m = rows;
  tile.run(tile.threads(), 0, [&] {
    tile.weights = k.shared("weights", DType::kF32, w.format.group * tile.weight_stride());
    tile.inputs = k.shared("inputs", DType::kF32, w.format.group * tile.input_stride());
    GroupReader reader(tile.gpu, tile.x, w, tile.thread);
    int results = tile.per_thread_n * tile.per_thread_m;
    BufferRef acc = k.registers("acc", {DType::kF32, 1}, results);
    for (int i = 0; i < results; ++i) k.store(acc, int_const(i), float_const(0));
    k.loop("g", 0, w.groups(), LoopKind::kSerial, [&](ExprRef g) {
      tile.load_weights(g);
      tile.load_inputs(reader, g);
      k.barrier();
      tile.multiply(acc);
      k.barrier();
    });
    tile.store(acc);
  });
  return k.finish();
}

}  // namespace mlc::kernel
