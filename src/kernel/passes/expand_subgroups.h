// Subgroup operations through shared memory, for targets that have none or have other subgroups than the
// function was written for: every lane stores its value, and after a barrier reads those it needs.
//
//   before:  let %s = subgroup_add(%x)                                  (subgroups of 4)
//   after:   %exchange[%t] = %x   barrier   let %s_first = %exchange[(%t // 4 * 4)]   ... three more ...
//            let %s = (((%first + %second) + %third) + %fourth)   barrier
//
// Operations of one type that do not need each other are exchanged between the same two barriers.
//
// All lanes add in the same order, so that they get the same bits. Exact as written, but for the order of
// float sums.
#pragma once

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::kernel {

// Shared memory for values of one type that are exchanged at once; a value per thread where that is more.
constexpr int64_t kExchangeBytes = 512;

Function expand_subgroups(Function function, const Target& target);

}  // namespace mlc::kernel
