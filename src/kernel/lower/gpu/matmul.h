// Matmuls on GPUs: the parts that the schedules share.
#pragma once

#include <optional>
#include <vector>

#include "kernel/lower/epilogue.h"
#include "kernel/lower/experts.h"
#include "kernel/lower/gpu/context.h"
#include "kernel/lower/gpu/weight.h"
#include "kernel/lower/norm.h"

namespace mlc::kernel {

// Many rows times a weight of groups, by tiles in shared memory: what its schedules declare, and the weight's
// rows in a tile.
struct GroupTile {
  GpuLowering& gpu;
  Operand x;
  LaneWeight w;
  BufferRef weight;
  ExpertRows experts;
  Epilogue epilogue;
  int width = 0, height = 0;  // weight rows and activation rows of a thread group
  ExprRef thread, first_column, first_row;
  ExprRef matrix_row, end;  // the weight's first row that the tile meets, the end of x's rows that do

  explicit GroupTile(GpuLowering& g);
  GroupTile(const GroupTile&) = delete;
  KernelBuilder& k() { return gpu.k; }
  int columns() const { return width / epilogue.halves(); }  // of the result
  int64_t across() const {
    return (epilogue.columns() + columns() - 1) / columns();
  }  // tiles along the result's columns
  // Thread groups over all tiles, along columns first; those of body() know where they are.
  void run(int threads, int subgroup_size, const std::function<void()>& body);
  // The weight row at `place` of the tile, whose rows lie in the order of their scales (gpu_weight.h); past
  // the end some row.
  ExprRef weight_row(const ExprRef& place);
};

// Blocks of `height` rows in all, so many that each run has enough; and where block `index` is, for body()
// unless it is empty. A group's threads are in one block.
Dim row_blocks(const ExpertRows& experts, int height);
void for_row_block(KernelBuilder& k, const ExpertRows& experts, int height, const ExprRef& index,
                   const std::function<void(const RowRun&)>& body);

// The row of x that a group of threads multiplies: where x lies or, if the matmul norms it, in shared memory.
class InputRow {
 public:
  // Declares the norm's operands: call it after the matmul's other inputs.
  InputRow(GpuLowering& gpu, const Operand& x, const LaneWeight& w);
  // x, or what counts as any of its rows once all threads of the group have normed the one.
  Operand load(const ExprRef& row, const ExprRef& thread, int threads);

 private:
  GpuLowering& gpu_;
  const Operand& x_;
  const LaneWeight& w_;
  std::optional<LoweredNorm> norm_;
};

// One group of activations as the codes of a weight meet them.
struct GroupInputs {
  std::vector<ExprRef> at;  // by position p: lane w is x[c*w + p] / 2^code_exponent(p)
  ExprRef zero = nullptr;   // zero point times the group's sum, where codes have one
  ExprRef sum = nullptr;    // of the group, for weights that have offsets
  ExprRef less_zero(const ExprRef& dot) const { return zero ? dot - zero : dot; }
};

// Reads a row's group of x for dot products with codes. With schedule.broadcast and real subgroups each lane
// loads four elements; load() and spread() are apart so that loads of several rows can stand before their
// use.
class GroupReader {
 public:
  GroupReader(GpuLowering& gpu, const Operand& x, const LaneWeight& w, const ExprRef& thread);
  // What this lane loads of the group: f32x4 values.
  std::vector<ExprRef> load(const ExprRef& row, const ExprRef& group);
  GroupInputs spread(const std::vector<ExprRef>& loaded);
  // Elements 4 * vector .. of the group as f32x4; zeros past the end of the row.
  ExprRef elements(const ExprRef& row, const ExprRef& group, const ExprRef& vector);

 private:
  GpuLowering& gpu_;
  const Operand& x_;
  const LaneWeight& w_;
  ExprRef lane_;
  bool broadcast_;
};

// scale * (codes . x - zero) of one group, and its offset times the sum of x.
ExprRef group_dot(KernelBuilder& k, const LaneWeight& w, const ExprRef& words, const GroupScale& scale,
                  const GroupInputs& x);

// The schedules. matvec: one row; tiles: any number.
Function gpu_matvec(GpuLowering& gpu);
Function gpu_matmul_lanes(GpuLowering& gpu);
Function gpu_matmul_shared(GpuLowering& gpu);
Function gpu_matmul_matrix(GpuLowering& gpu);  // precondition: fits_matrix_unit()
// Whether the target has a matrix unit whose depth divides the weight's groups.
bool fits_matrix_unit(const GpuLowering& gpu);
Function gpu_matmul_plain(GpuLowering& gpu);

}  // namespace mlc::kernel
