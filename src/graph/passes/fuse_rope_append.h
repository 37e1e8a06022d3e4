// Replaces the rotation of q and k and the append of k and v by one op over the fused projection.
//
//   before:  %q = slice(%qkv)   %k = slice(%qkv)   %v = slice(%qkv)          (in this order of columns)
//            %rq = rope(%q, %f)   %rk = rope(%k, %f)   kv_append($kv, %rk, %v, %slots)
//   after:   %rq = rope_append($kv, %qkv, %f, %slots)
//
// Needs: the slices cover %qkv, both rotations are alike, %rk and the slices have no other use, %rq is used
// only after the append. The new node stands where the append stood, so the order of effects is kept.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void fuse_rope_append(Module& module);

}  // namespace mlc::graph
