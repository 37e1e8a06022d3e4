// What the lowerings for GPUs share: operands in 32-bit words, units of a row over threads, sums over a
// group.
#pragma once

#include "kernel/lower/cache.h"
#include "kernel/schedule/gpu/table.h"

namespace mlc::kernel {

struct GpuLowering final : Lowering {
  const GpuSchedule& schedule;
  int lanes;  // of a subgroup

  GpuLowering(const graph::Node& n, const graph::Module& m, const LowerOptions& o)
      : Lowering(n, m, o), schedule(gpu_schedule(target)), lanes(subgroup_lanes(target)) {}

  // f32 and i32 lie in a buffer of that type, f16 and bf16 in pairs in words of u32.
  Operand declare(const std::string& name, DType stored, const Dim& elements, bool writable) override;
  Operand state(bool writable) override;
  CachePages pages() const override;
  CachePages chunked_pages() const;  // UserError for heads of an odd number of elements

  // The `chunk` elements from `index` on, 16 bytes or a half or quarter of them, as values of n f32: 2 or 4.
  std::vector<ExprRef> load_chunk(const Operand& from, const ExprRef& index, int chunk, int n);

  // Calls body(unit, inside) so that each of [0, units) is met once by the threads; `inside` is null where
  // all of them are, else the unit is clamped and stores stand under inside's branch.
  void for_units(int64_t units, int threads, const ExprRef& thread,
                 const std::function<void(ExprRef unit, ExprRef inside)>& body);

  // One value of all threads of the group, the same bits in each. Not inside a loop.
  ExprRef group_reduce(BinaryOp op, const ExprRef& value, const ExprRef& thread, int threads);

  // Threads for a row of `units`: no more than it has, in whole subgroups.
  int threads_for(int64_t units) const;
  // A grid over rows with `threads` threads each; body(row, thread).
  void for_rows(const Dim& rows, int threads, const std::function<void(ExprRef, ExprRef)>& body);
  // A grid over rows x units; each thread does one unit of a row. body(row, unit).
  void for_row_units(const Dim& rows, int64_t units, const std::function<void(ExprRef, ExprRef)>& body);
  void for_each_unit(const Units& units) override;
  void for_each_row(const Operand& x, const Operand& out, const std::function<void(Row&)>& body) override;
};

// Units of a head as threads take them: the parts one after the other.
struct HeadUnits {
  const std::vector<Part>& parts;
  int64_t count() const;
  // The body of the part that unit u of a head falls into.
  void meet(GpuLowering& gpu, const ExprRef& row, const ExprRef& head, const ExprRef& u) const;
};

// A row over the threads of its group, each of which has vectors of n elements, kept where they are few.
class GpuRow final : public Row {
 public:
  GpuRow(GpuLowering& gpu, const Operand& x, const ExprRef& row, const ExprRef& thread, int threads, int n);
  ExprRef reduce(const std::string& name, BinaryOp op, const ExprRef& first,
                 const std::function<ExprRef(const ExprRef&)>& term) override;
  // The same of the thread's own elements, lanes apart; `first` has the type of the terms.
  ExprRef reduce_own(BinaryOp op, const ExprRef& first, const std::function<ExprRef(const ExprRef&)>& term);
  void store(const Operand& out, const Value& value) override;

  int64_t units() const { return x_.columns / n; }
  ExprRef load(const ExprRef& unit) { return gpu_.load(x_, x_.at(index, unit * n), n); }

  const ExprRef thread;
  const int threads, n;

 private:
  // body(first element, vector, inside or null) for every vector of the thread; one that is not inside is
  // some vector of the row.
  void for_each(const std::function<void(ExprRef, ExprRef, ExprRef)>& body);

  GpuLowering& gpu_;
  const Operand& x_;
  std::vector<ExprRef> kept_, units_, inside_;  // of kept vectors
};

// f32 lanes of a vector, one by one.
std::vector<ExprRef> lanes_of(KernelBuilder& k, const ExprRef& vector);
// `op` of a vector's lanes, by halves.
ExprRef reduce_lanes(KernelBuilder& k, BinaryOp op, const ExprRef& vector);
inline ExprRef sum_lanes(KernelBuilder& k, const ExprRef& vector) {
  return reduce_lanes(k, BinaryOp::kAdd, vector);
}

// The softmax's denominator with a sink: `total` is the sum of exp(score - largest). A sink 80 above all
// scores leaves them nothing either way, and no device meets an infinity.
ExprRef add_sink(const ExprRef& total, const ExprRef& largest, const ExprRef& sink);

}  // namespace mlc::kernel
