// The lowerings for CPUs: what the table of lower.cpp takes from this folder.
#pragma once

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

Function lower_attention(CpuLowering& low);  // attention_part too
Function lower_attention_join(CpuLowering& low);
Function lower_group_slots(CpuLowering& low);
Function lower_kv_append(CpuLowering& low);
Function lower_matmul(CpuLowering& low);
Function lower_rope_append(CpuLowering& low);
Function lower_route(CpuLowering& low);
Function lower_take(CpuLowering& low);
Function lower_to_rows(CpuLowering& low);

}  // namespace mlc::kernel
