// Counts what a whole model's kernels do to memory on a GPU target, without a GPU: kernel/count.h for each
// call of a step.
#pragma once

#include <string>
#include <vector>

#include "kernel/count.h"
#include "plan/build_plan.h"

namespace mlc {

// Calls of one kernel in a step; they are alike, so one of them is counted.
struct CountedKernel {
  int64_t calls = 0;
  // Of the matrices that one call reads, as they lie in memory. Vectors (biases, norms) are read again by
  // each group, as activations are: from caches.
  int64_t weight_bytes = 0;
  int64_t weight_fetched = 0;  // bytes moved for them
  int64_t weight_used = 0;     // and those of them that lanes wanted
  kernel::KernelCount count;   // of one call
};

struct CountedStep {
  std::string function;
  int64_t rows = 0, tokens = 0;  // of the step; in the cache after it
  int64_t layers = 0, dispatches = 0;
  std::vector<CountedKernel> kernels;
};

// One decode step, and one prefill of `rows` rows, of one sequence that holds `tokens` tokens afterwards;
// `built` is a model's variant for a GPU after the kernel passes (compile.h, stop_after = "kernel"). Weights
// and activations are zeros: no count depends on them. At most `most_groups` groups of a kernel stand for all
// of them.
std::vector<CountedStep> count_model(const BuiltPlan& built, int64_t rows, int64_t tokens,
                                     int64_t most_groups = 8);

// For people: a line a kernel, and the dispatches of a layer.
std::string count_table(const std::vector<CountedStep>& steps);

}  // namespace mlc
