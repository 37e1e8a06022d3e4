// Gives matmuls with group-quantized weights int8 activations in groups of the weights' size (only at O2): a
// norm whose only users they are emits them itself, any other value gets one quantize_q8 before its first
// such user.
//
//   before:  %0 = rms_norm(%x, @n)                      %1 = matmul(%0, @w)
//            %2 = activation(%1)                        %3 = matmul(%2, @d)
//   after:   %0 = rms_norm(%x, @n) {output = "q8g32"}   %1 = matmul(%0, @w)
//            %2 = activation(%1)   %4 = quantize_q8(%2) %3 = matmul(%4, @d)
//
// Changes results: an activation loses up to max|group| / 254 per element.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void quantize_activations(Module& module);

}  // namespace mlc::graph
