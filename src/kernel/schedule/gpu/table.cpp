// The rows of the schedule table.
#include "kernel/schedule/gpu/table.h"

namespace mlc::kernel {
namespace {

// CUDA: the row of Vulkan's "nvidia" where nothing else is said.
//   slices: subgroups along K of a decode matmul. From the CUDA programming guide: a multiprocessor holds
//   1024 (sm_75), 1536 (sm_86, 89, 120) or 2048 threads; eight subgroups of 32 make groups of 256, which
//   divide them all. rows, height: activation rows of a thread and of a group in prefill. Guess: half of it
//   where a multiprocessor has 64 or 100 KiB of shared memory. matrix_*: the
//   groups of 128 by 128 with 64 by 64 a subgroup of CUTLASS's default for these instructions, of half of the
//   rows where `height` is half; each of the 128 threads unpacks a weight row.
constexpr GpuSchedule cuda_row(const char* architecture, int slices, int rows, int height) {
  return {.device_class = architecture,
          .virtual_subgroup = 32,
          .row_threads = 256,
          .kept_vectors = 8,
          .matvec_rows = 1,
          .matvec_slices = slices,
          .broadcast = false,
          .fused_norm_bytes = 32 << 10,
          .shared_tiles = true,
          .tile_columns = 4,
          .tile_rows = rows,
          .tile_width = 64,
          .tile_height = height,
          .matrix_width = 128,
          .matrix_height = 2 * height,
          .matrix_per_n = 8,
          .matrix_per_m = height / 16,
          .attention_subgroups = 4,
          .attention_queries = 6};
}

// Marks: "measured on X", "from X", "guess". matrix_*: a guess, the 64 x 64 of the other tiles with 32 x 32 a
// subgroup; zeros where no language offers the class a matrix unit. The first row serves classes that have
// none of their own.
constexpr GpuSchedule kRows[] = {
    // Guess: 32 lanes a row block of 32, eight subgroups along K; tiles of 64 x 64 as in the usual SGEMM.
    // Guess: attention.
    {.device_class = "generic",
     .virtual_subgroup = 32,
     .row_threads = 256,
     .kept_vectors = 8,
     .matvec_rows = 1,
     .matvec_slices = 4,
     .broadcast = false,
     .fused_norm_bytes = 8 << 10,
     .shared_tiles = true,
     .tile_columns = 4,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 32,
     .matrix_width = 64,
     .matrix_height = 64,
     .matrix_per_n = 2,
     .matrix_per_m = 2,
     .attention_subgroups = 2,
     .attention_queries = 8},
    // From the CUDA programming guide: 128-byte requests of a warp, 48 KiB shared. Guess: the numbers.
    {.device_class = "nvidia",
     .virtual_subgroup = 32,
     .row_threads = 256,
     .kept_vectors = 8,
     .matvec_rows = 1,
     .matvec_slices = 8,
     .broadcast = false,
     .fused_norm_bytes = 32 << 10,
     .shared_tiles = true,
     .tile_columns = 4,
     .tile_rows = 8,
     .tile_width = 64,
     .tile_height = 64,
     .matrix_width = 64,
     .matrix_height = 64,
     .matrix_per_n = 2,
     .matrix_per_m = 2,
     .attention_subgroups = 4,
     .attention_queries = 8},
    // From the RDNA and CDNA ISA guides: 64 lanes where the driver says so. Guess: the numbers.
    {.device_class = "amd",
     .virtual_subgroup = 64,
     .row_threads = 256,
     .kept_vectors = 8,
     .matvec_rows = 1,
     .matvec_slices = 4,
     .broadcast = false,
     .fused_norm_bytes = 20 << 10,
     .shared_tiles = true,
     .tile_columns = 4,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 64,
     .matrix_width = 64,
     .matrix_height = 64,
     .matrix_per_n = 2,
     .matrix_per_m = 2,
     .attention_subgroups = 1,
     .attention_queries = 8},
    // Guess.
    {.device_class = "apple",
     .virtual_subgroup = 32,
     .row_threads = 256,
     .kept_vectors = 8,
     .matvec_rows = 1,
     .matvec_slices = 4,
     .broadcast = false,
     .fused_norm_bytes = 20 << 10,
     .shared_tiles = true,
     .tile_columns = 4,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 32,
     .matrix_width = 64,
     .matrix_height = 32,
     .matrix_per_n = 4,
     .matrix_per_m = 2,
     .attention_subgroups = 2,
     .attention_queries = 8},
    // Guess.
    {.device_class = "intel",
     .virtual_subgroup = 16,
     .row_threads = 128,
     .kept_vectors = 8,
     .matvec_rows = 4,
     .matvec_slices = 4,
     .broadcast = false,
     .fused_norm_bytes = 20 << 10,
     .shared_tiles = true,
     .tile_columns = 4,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 32,
     .matrix_width = 64,
     .matrix_height = 64,
     .matrix_per_n = 2,
     .matrix_per_m = 2,
     .attention_subgroups = 4,
     .attention_queries = 8},
    // Guess: few registers, so small tiles.
    {.device_class = "adreno",
     .virtual_subgroup = 64,
     .row_threads = 128,
     .kept_vectors = 8,
     .matvec_rows = 1,
     .matvec_slices = 2,
     .broadcast = false,
     .fused_norm_bytes = 20 << 10,
     .shared_tiles = true,
     .tile_columns = 2,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 32,
     .attention_subgroups = 1,
     .attention_queries = 4},
    // Guess: likewise.
    {.device_class = "mali",
     .virtual_subgroup = 16,
     .row_threads = 64,
     .kept_vectors = 8,
     .matvec_rows = 4,
     .matvec_slices = 4,
     .broadcast = false,
     .fused_norm_bytes = 20 << 10,
     .shared_tiles = true,
     .tile_columns = 2,
     .tile_rows = 4,
     .tile_width = 64,
     .tile_height = 32,
     .attention_subgroups = 4,
     .attention_queries = 4},
    // Measured on lavapipe 22.3.6 (8 lanes), SmolLM2's 576 x 3072: straight code beyond the 32 KiB of the
    // instruction cache costs
    // more than it saves, so 8 x 2 results a lane (26 ms for 64 rows; 4 x 8: 52, 4 x 4: 36, 16 x 2: 29); one
    // row: 8 weight rows a
    // lane 0.53 ms, 4: 0.80, 16: 0.49 but too few groups for small matrices; 6 queries over 256 tokens 5.0
    // ms, 12: 5.5, 3: 6.1.
    // Norms fused into matmuls: decode at 0.95 of the speed with norms of their own (16 pairs of runs).
    // Guess: the rest; barriers cost a switch of threads.
    {.device_class = "software",
     .virtual_subgroup = 8,
     .row_threads = 8,
     .kept_vectors = 64,
     .matvec_rows = 8,
     .matvec_slices = 1,
     .broadcast = true,
     .fused_norm_bytes = 0,
     .shared_tiles = false,
     .tile_columns = 8,
     .tile_rows = 2,
     .tile_width = 0,
     .tile_height = 0,
     .attention_subgroups = 1,
     .attention_queries = 6},
    // From the guide: the slices. Guess: the rest (no GPU was at hand).
    cuda_row("sm_75", 8, 4, 32),
    cuda_row("sm_80", 8, 8, 64),
    cuda_row("sm_86", 8, 4, 32),
    cuda_row("sm_89", 8, 4, 32),
    cuda_row("sm_90", 8, 8, 64),
    cuda_row("sm_100", 8, 8, 64),
    cuda_row("sm_120", 8, 4, 32),
};

}  // namespace

const GpuSchedule& gpu_schedule(const Target& target) {
  for (const GpuSchedule& row : kRows)
    if (target.device_class == row.device_class) return row;
  return kRows[0];
}

int64_t fused_norm_bytes(const Target& target) {
  return target.is_gpu() ? gpu_schedule(target).fused_norm_bytes : 0;
}

int subgroup_lanes(const Target& target) {
  return target.subgroup_size > 1 ? target.subgroup_size : gpu_schedule(target).virtual_subgroup;
}

}  // namespace mlc::kernel
