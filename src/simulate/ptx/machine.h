// How entries of a PTX module run (Entry::run): groups one after another, the warps of a group in turns
// between barriers, the lanes of a warp together as far as they agree on what comes next.
//
// What a GPU would do silently wrong is a Fault: an access outside of live memory or not aligned, a store
// that another thread of the group meets without a barrier between, a barrier or shuffle that not all lanes
// reach, a parameter that was not passed.
#pragma once

#include "simulate/grid.h"
#include "simulate/ptx/module.h"

namespace mlc::ptx {

using mlc::Counts;
using mlc::GridCall;
using mlc::LiveMemory;

}  // namespace mlc::ptx
