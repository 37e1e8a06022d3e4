// What the lowerings for GPUs share: operands in 32-bit words, runs of elements over threads, sums over a
// group.
#pragma once

#include <functional>
#include <vector>

#include "kernel/lower/context.h"
#include "kernel/schedule/gpu/table.h"

namespace mlc::kernel {

// A buffer of elements of `stored`: f32 and i32 lie in a buffer of that type, f16 and bf16 in pairs in words
// of u32.
struct Words {
  BufferRef buffer;
  DType stored = DType::kF32;
  bool packed() const { return size_of(stored) == 2; }
  int elements_per_word() const { return packed() ? 2 : 1; }
};

struct WordMatrix {
  Words words;
  Dim rows;
  int64_t columns = 0, row_stride = 0, column_offset = 0;
  ExprRef at(const ExprRef& row, const ExprRef& column) const {  // index of an element
    return row * static_cast<double>(row_stride) + column + static_cast<double>(column_offset);
  }
  // The most elements, at most 4, that can be moved at once at any multiple of themselves in a row.
  int lanes() const;
};

struct GpuLowering {
  Lowering& low;
  KernelBuilder& k;
  const GpuSchedule& schedule;
  int lanes;  // of a subgroup

  explicit GpuLowering(Lowering& l)
      : low(l), k(l.k), schedule(gpu_schedule(l.target)), lanes(subgroup_lanes(l.target)) {}

  // Declare operands, in order. UserError for a type without a GPU form.
  WordMatrix matrix(size_t i, const std::string& name);
  Words vector(size_t i, const std::string& name);
  WordMatrix result(size_t i = 0, const std::string& name = "out");
  Words state(bool writable, int64_t layers = 1);
  Words words(const std::string& name, DType stored, const Dim& elements, bool writable);

  // Elements [index, index + n) as f32; n is 1, 2 or 4 and index a multiple of n.
  ExprRef load(const Words& from, const ExprRef& index, int n = 1);
  // The 16 bytes from `index` on as f32x4 values: one of f32, two of halves.
  std::vector<ExprRef> load_chunk(const Words& from, const ExprRef& index);
  // An i32 as an index.
  ExprRef load_index(const Words& from, const ExprRef& index);
  // Rounds n lanes to the buffer's type and stores them; packed buffers need n even.
  void store(const Words& to, const ExprRef& index, const ExprRef& value);

  // Calls body(unit, inside) so that each of [0, units) is met once by the threads; `inside` is null where
  // all of them are, else the unit is clamped and stores stand under inside's branch.
  void for_units(int64_t units, int threads, const ExprRef& thread,
                 const std::function<void(ExprRef unit, ExprRef inside)>& body);
  // A branch, or none where `inside` is null.
  void where(const ExprRef& inside, const std::function<void()>& body);

  // One value of all threads of the group, the same bits in each. Not inside a loop.
  ExprRef group_reduce(BinaryOp op, const ExprRef& value, const ExprRef& thread, int threads);

  // Threads for a row of `units`: no more than it has, in whole subgroups.
  int threads_for(int64_t units) const;
  // A grid over the rows of `m` with `threads` threads each; body(row, thread).
  void for_rows(const Dim& rows, int threads, const std::function<void(ExprRef, ExprRef)>& body);
  // A grid over rows x units; each thread does one unit of a row. body(row, unit).
  void for_row_units(const Dim& rows, int64_t units, const std::function<void(ExprRef, ExprRef)>& body);
};

// The two f16 or bf16 of a word as f32x2.
ExprRef unpack_pair(DType stored, const ExprRef& word);
// f32 lanes of a vector, one by one.
std::vector<ExprRef> lanes_of(KernelBuilder& k, const ExprRef& vector);
// The sum of a vector's lanes, by halves.
ExprRef sum_lanes(KernelBuilder& k, const ExprRef& vector);
// A vector of 2 or 4 scalars.
ExprRef vector_of(const std::vector<ExprRef>& lanes);

}  // namespace mlc::kernel
