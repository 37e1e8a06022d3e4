// Lowers one graph node to one kernel for a target: the door from graph to kernel. Beside it stands what CPUs
// and GPUs share; cpu/ and gpu/ hold a file per op family.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/dim.h"
#include "base/target/target.h"
#include "graph/ir.h"
#include "kernel/ir.h"

namespace mlc::kernel {

// Where a kernel finds an operand whose columns are a slice of a wider value: element (r, c) of the operand
// is base[r * row_stride + column_offset + c].
struct View {
  int64_t row_stride = 0;
  int64_t column_offset = 0;
};

struct LowerOptions {
  const Target* target = nullptr;
  // The body's guard: the kernel may assume min_rows <= rows <= max_rows (0 = unbounded).
  int64_t min_rows = 0, max_rows = 0;
  // One per node input, then one per operand of its region (2-D activations); row_stride 0 = dense.
  std::vector<View> input_views;
};

// A kernel and how a call binds to it. Buffers in order: node inputs, the region's operands, state (if any),
// outputs. A group-quantized parameter is one u8 buffer of layout_bytes(); a plain one its elements; a
// quantized activation one u8 buffer of its bytes; a state, on CPUs [kPoolPages][layers] blocks of
// page_bytes (cache.h) from the node's layer on (the first, for ops without a layer), on GPUs the slab of the
// node's layer, [kPoolPages] (all layers' slabs in order). `Function::dims` are names that the caller must
// provide: symbols of the node's shapes (rows, batch, pages), and kPoolPages (formats/plan.h) for ops with
// state. Function::name is the op's, not unique: the caller renames.
struct LoweredKernel {
  Function function;
};

// Throws UserError when no lowering exists for the op on this target.
LoweredKernel lower_node(const graph::Node& node, const graph::Module& module, const LowerOptions& options);

// The kernel that turns a parameter's packed bytes (as in the file: buffers of q_weight and q_scale, or the
// plain tensor) into its physical layout: inputs, then one output of u8. nullopt when the layout is "packed"
// and plain.
std::optional<Function> lower_preproc(const graph::TensorType& parameter, const Target& target);

// Bytes of a parameter in its physical layout.
int64_t layout_bytes(const graph::TensorType& parameter);

// A parameter [N, K] whose buffer is larger than a call may bind is cut into pieces along N, each a parameter
// of its own with rows [first, first + rows) of each of `halves` equal parts of N (2: a matmul that gates
// takes row n and row n + N/2 together); one [E, N, K] likewise in every expert. A node is then lowered once
// for each piece: its weight (take: its table) has the piece's type, attribute kPieceAttribute its `first`. A
// matmul writes the piece's columns of the whole result, a take the rows whose index lies in the piece. GPUs
// only.
struct WeightPiece {
  int64_t first = 0, rows = 0;
  graph::TensorType type;  // [rows * halves, K], or [E, rows * halves, K]
};
inline constexpr const char* kPieceAttribute = "first_row";
// One piece of everything where the whole fits into max_bytes (0: no bound). UserError where not even 32 rows
// do.
std::vector<WeightPiece> weight_pieces(const graph::TensorType& parameter, int halves, int64_t max_bytes);

// Two nodes with equal keys lower to the same kernel: op, types, layouts, attributes that matter, views,
// guard, target.
std::string kernel_key(const graph::Node& node, const graph::Module& module, const LowerOptions& options);

}  // namespace mlc::kernel
