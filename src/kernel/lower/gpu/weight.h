// The layout of group-quantized weights [N, K] on GPUs, "lanes32": threads that hold one row each read whole
// sectors.
//
// A parameter is one buffer: codes [N/32][groups][32 rows][4] u32, then scales [N/32][groups that have
// one][8][4] of the format's dtype, where [i][j] is row i + 8 j of the 32: a lane of eight has its four rows'
// scales side by side. N is rounded up to 32 with codes and scales of zero. A row's group is 16 bytes, its
// codes in the order of the file: word w holds k = c*w .. c*w+c-1 (c = 8, 10 or 4), lowest bits first; of 8
// bits two such groups share a scale.
//
// Where the format's zero point is no constant, a group is still 32 codes of a row and in place of its scale
// stands a pair of halves, as on CPUs (kernel/lower/cpu/weight_layouts.h). Of 8-bit floats each row has a
// scale of its own, as there.
#pragma once

#include <algorithm>
#include <vector>

#include "graph/ir.h"
#include "kernel/lower/gpu/context.h"

namespace mlc::kernel {

using graph::kLaneLayout;
using graph::kLaneRows;

// A group's scale, f32, and what the code at the zero point stands for: nullptr where that is 0 for all.
struct GroupScale {
  ExprRef scale, offset = nullptr;
};

struct LaneWeight {
  WeightFormat format;   // as kernels see it
  int64_t n = 0, k = 0;  // of the real matrix
  WeightFormat file;     // of the records

  bool has_offsets() const { return file.has_offsets(); }
  int scale_bytes() const { return has_offsets() ? 4 : size_of(format.dtype); }

  int64_t groups() const { return format.groups(k); }
  // Groups that share a scale, and how many scales a row has; pairs stand for each group.
  int64_t groups_per_scale() const {
    if (has_offsets()) return 1;
    return file.group ? std::max<int64_t>(1, file.group / format.group) : std::max<int64_t>(1, groups());
  }
  int64_t scale_groups() const { return (groups() + groups_per_scale() - 1) / groups_per_scale(); }
  int64_t padded_rows() const { return (n + kLaneRows - 1) / kLaneRows * kLaneRows; }
  int64_t code_words() const { return padded_rows() * groups() * 4; }
  int64_t words() const { return code_words() + padded_rows() * scale_groups() * scale_bytes() / 4; }

  // Number of the row's group among all, in the order of the codes: its words begin at 4 x. The next group is
  // 32 on.
  ExprRef place(const ExprRef& row, const ExprRef& group) const;
  // Number of the scale of a row's group among all scales, and how far from that of group 0 it is.
  // `place`: that of the same group's codes.
  ExprRef scale_place(const ExprRef& row, const ExprRef& group, const ExprRef& place) const;
  ExprRef scale_step(const ExprRef& group) const {
    return (groups_per_scale() == 1 ? group : group / groups_per_scale()) * kLaneRows;
  }
  // The group's words as u32x4, and n scales that lie side by side as f32: n is 1, 2 or 4 and divides
  // scale_place.
  ExprRef codes(KernelBuilder& k, const BufferRef& buffer, const ExprRef& place) const;
  std::vector<GroupScale> scales(KernelBuilder& k, const BufferRef& buffer, const ExprRef& scale_place,
                                 int n = 1) const;
  // What code 0 of a group stands for.
  ExprRef code_zero(const GroupScale& s) const {
    if (format.zero_point() == 0) return float_const(0);
    ExprRef centered = s.scale * -format.zero_point();
    return s.offset ? centered + s.offset : centered;
  }
  // Codes at `position` of some words, as f32 times 2^code_exponent(position): one mask or shift a code, or
  // the number of an 8-bit float.
  ExprRef codes_at(KernelBuilder& k, const ExprRef& words, int position) const;
  int code_exponent(int position) const;
};

// Internal error when the type is no group-quantized matrix in this layout.
LaneWeight lane_weight(const graph::TensorType& type);

// From the weight's records, in their order (format_records), to the layout.
Function lower_gpu_repack(const graph::TensorType& parameter, const Target& target);

}  // namespace mlc::kernel
