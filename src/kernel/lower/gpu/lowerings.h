// The lowerings for GPUs: what the table of lower.cpp takes from this folder.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

Function lower_gpu_take(Lowering& low);
Function lower_gpu_matmul(Lowering& low);
Function lower_gpu_rms_norm(Lowering& low);
Function lower_gpu_layer_norm(Lowering& low);
Function lower_gpu_elementwise(Lowering& low);
Function lower_gpu_slice(Lowering& low);
Function lower_gpu_gated(Lowering& low);
Function lower_gpu_rope(Lowering& low);
Function lower_gpu_rope_append(Lowering& low);
Function lower_gpu_kv_append(Lowering& low);
Function lower_gpu_softmax(Lowering& low);
Function lower_gpu_sample(Lowering& low);
Function lower_gpu_copy_pages(Lowering& low);
Function lower_gpu_attention(Lowering& low);  // attention_part too
Function lower_gpu_attention_join(Lowering& low);
Function lower_gpu_route(Lowering& low);
Function lower_gpu_group_slots(Lowering& low);
Function lower_gpu_expert_sum(Lowering& low);

}  // namespace mlc::kernel
