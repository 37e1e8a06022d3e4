// The names of physical layouts: what stands behind '@' in a type. What lies where is written beside the
// kernels that make and read a layout.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlc::graph {

// The bytes of the file; of activations, one row after the other.
inline constexpr const char* kPackedLayout = "packed";

// Group-quantized weights on CPUs, in tiles of 4, 8, 16 or 32 rows: "tile8"
// (kernel/lower/cpu/weight_layouts.h).
inline constexpr std::string_view kRowTiles = "tile";
inline std::string row_tiles_layout(int rows) { return std::string(kRowTiles) + std::to_string(rows); }

// Group-quantized weights on GPUs, in blocks of 32 rows (kernel/lower/gpu/weight.h).
inline constexpr const char* kLaneLayout = "lanes32";
inline constexpr int kLaneRows = 32;

// Activations that a CPU's matrix unit loads: bf16 in tiles of 16 rows by 32 columns, [rows / 16][columns /
// 32][16][32]. Columns are padded with zeros; rows, to an even number of tiles, with anything.
inline constexpr const char* kTileLayout = "tiles16x32";
inline constexpr int64_t kTileRows = 16, kTileColumns = 32;

}  // namespace mlc::graph
