// The schedules of matmul; lower_matmul picks one by the types of its operands.
#pragma once

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

// f32 activations, weight of f32, f16 or bf16: vectors run along K, a register tile of weight rows x
// activation rows.
Function lower_plain_matmul(CpuLowering& low);
// Quantized activations and weights in a tile layout: integer dot products, one vector lane per weight row.
Function lower_matmul_q8(CpuLowering& low);
// bf16 activations in tiles, 4-bit groups of 32 in a tile layout: products of matrices.
Function lower_matmul_matrix(CpuLowering& low);

}  // namespace mlc::kernel
