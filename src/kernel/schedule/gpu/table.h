// How kernels are cut for a class of GPU: numbers, no code. table.cpp has the rows.
#pragma once

#include "base/target/target.h"

namespace mlc::kernel {

struct GpuSchedule {
  const char* device_class;
  // Lanes that a kernel is written for where the target has no subgroups.
  int virtual_subgroup;
  // Threads of a group that serves one row (norms) or a run of elements, and vectors of a row that a thread
  // keeps in registers between passes over it.
  int row_threads, kept_vectors;
  // Decode matmul: weight rows of a lane, subgroups that share the groups of K, and whether lanes hold the
  // activations and pass them on by subgroup_broadcast (where a load costs more than that) or each loads them
  // (where equal addresses are free).
  int matvec_rows, matvec_slices;
  bool broadcast;
  // The most bytes of a row in f32 that a decode matmul norms by itself: each of its groups does so once
  // more, into shared memory, and a kernel less is launched.
  int fused_norm_bytes;
  // Prefill matmul: weight rows and activation rows of a thread; with shared tiles also those of a group
  // (powers of two).
  bool shared_tiles;
  int tile_columns, tile_rows, tile_width, tile_height;
  // The same where the target has a matrix unit: weight rows and activation rows of a group (powers of two),
  // and the matrices of sums of a subgroup along each.
  int matrix_width, matrix_height, matrix_per_n, matrix_per_m;
  // Attention: subgroups of a group, and the most queries (rows x heads) that share one load of K and V.
  int attention_subgroups, attention_queries;
};

// The row of the target's class.
const GpuSchedule& gpu_schedule(const Target& target);

// The same of any target; 0 on CPUs, whose norms quantize what they make.
int64_t fused_norm_bytes(const Target& target);

// Lanes of a subgroup in kernels for the target: its own, or the class's virtual ones.
int subgroup_lanes(const Target& target);

}  // namespace mlc::kernel
