// The lowerings that are written once for CPUs and GPUs.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

Function lower_cast(Lowering& low);
Function lower_copy_pages(Lowering& low);
Function lower_copy_slots(Lowering& low);
Function lower_expert_sum(Lowering& low);
Function lower_layer_norm(Lowering& low);
Function lower_lora_expand(Lowering& low);
Function lower_lora_shrink(Lowering& low);
Function lower_map(Lowering& low);
Function lower_rms_norm(Lowering& low);
Function lower_rope(Lowering& low);
Function lower_slice(Lowering& low);
Function lower_softmax(Lowering& low);
Function lower_token_shift(Lowering& low);
Function lower_wkv4(Lowering& low);
Function lower_wkv5(Lowering& low);
Function take_plain(Lowering& low);  // take of a table that is not quantized

}  // namespace mlc::kernel
