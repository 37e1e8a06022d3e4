// The lowerings for GPUs: what the table of lower.cpp takes from this folder.
#pragma once

#include "kernel/lower/gpu/context.h"

namespace mlc::kernel {

Function lower_gpu_attention(GpuLowering& gpu);  // attention_part too
Function lower_gpu_attention_join(GpuLowering& gpu);
Function lower_gpu_group_slots(GpuLowering& gpu);
Function lower_gpu_kv_append(GpuLowering& gpu);
Function lower_gpu_matmul(GpuLowering& gpu);
Function lower_gpu_rope_append(GpuLowering& gpu);
Function lower_gpu_route(GpuLowering& gpu);
Function lower_gpu_sample(GpuLowering& gpu);
Function lower_gpu_take(GpuLowering& gpu);

}  // namespace mlc::kernel
