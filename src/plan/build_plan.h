// Optimised graph -> plan + kernels for one target: lowers each distinct node once, lays out the arena, lists
// the calls.
#pragma once

#include <memory>
#include <vector>

#include "base/target/target.h"
#include "formats/plan.h"
#include "graph/ir.h"
#include "kernel/ir.h"

namespace mlc {

struct BuiltPlan {
  Plan plan;
  std::vector<kernel::Function>
      kernels;  // plan.kernels names them, in this order; not yet legal for the target
};

// Functions of the module that share a name become bodies of one plan function, in module order. Throws
// UserError when an op has no lowering on the target.
BuiltPlan build_plan(const graph::Module& module, const Target& target);

}  // namespace mlc
