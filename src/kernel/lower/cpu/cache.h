// What attention on CPUs needs of the KV cache beside its addresses.
#pragma once

#include "kernel/lower/cache.h"
#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

// The codes of element d of a head's keys as f32, from a token on; keys: where the head's keys begin.
ExprRef load_key_codes(CpuLowering& low, const BufferRef& cache, const ExprRef& keys, const ExprRef& d,
                       const ExprRef& token, int lanes);

}  // namespace mlc::kernel
