// Runs the graph passes.
#include "graph/passes/pipeline.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "graph/passes/choose_layouts.h"
#include "graph/passes/eliminate_dead_values.h"
#include "graph/passes/fuse_epilogues.h"
#include "graph/passes/fuse_norms.h"
#include "graph/passes/fuse_rope_append.h"
#include "graph/passes/group_experts.h"
#include "graph/passes/merge_equal_nodes.h"
#include "graph/passes/quantize_activations.h"
#include "graph/passes/retain_windows.h"
#include "graph/passes/specialize_rows.h"
#include "graph/passes/split_attention.h"
#include "graph/passes/use_matrix_unit.h"
#include "graph/print.h"
#include "graph/verify.h"

namespace mlc::graph {
namespace {

class Runner {
 public:
  Runner(Module& module, const PassOptions& options) : module_(module), options_(options) {
    check_valid(module, "graph input");
    if (options.dump) options.dump("input", print(module));
  }

  template <typename F>
  void operator()(const std::string& name, F pass) {
    if (std::find(options_.skip.begin(), options_.skip.end(), name) != options_.skip.end()) return;
    auto start = std::chrono::steady_clock::now();
    pass();
    times.push_back({name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
    check_valid(module_, "after graph pass " + name);
    if (options_.dump) options_.dump(name, print(module_));
  }

  std::vector<PassTime> times;

 private:
  Module& module_;
  const PassOptions& options_;
};

void check_skips(const PassOptions& options) {
  std::vector<std::string> names = pass_names();
  for (const std::string& skip : options.skip)
    if (std::find(names.begin(), names.end(), skip) == names.end())
      throw UserError(str("--skip-passes: unknown graph pass '", skip, "', expected one of ",
                          join(names, ", "), did_you_mean(skip, names)));
}

}  // namespace

std::vector<std::string> pass_names() {
  return {"retain_windows",   "merge_equal_nodes", "eliminate_dead_values",
          "fuse_rope_append", "fuse_epilogues",    "quantize_activations",
          "choose_layouts",   "specialize_rows",   "group_experts",
          "use_matrix_unit",  "fuse_norms",        "split_attention"};
}

std::vector<PassTime> run_passes(Module& m, const PassOptions& options) {
  check_skips(options);
  internal_check(options.target != nullptr, "graph passes need a target");
  Runner run(m, options);
  run("retain_windows", [&] { retain_windows(m); });
  run("merge_equal_nodes", [&] { merge_equal_nodes(m); });
  run("eliminate_dead_values",
      [&] { eliminate_dead_values(m); });  // the fusions count uses: dead ones would stop them
  run("fuse_rope_append", [&] { fuse_rope_append(m); });
  run("fuse_epilogues", [&] { fuse_epilogues(m); });
  if (options.opt_level >= 2 && !options.target->is_gpu())  // GPU kernels multiply in f32
    run("quantize_activations",
        [&] { quantize_activations(m); });  // after the epilogues: gated outputs are final here
  run("choose_layouts", [&] { choose_layouts(m, *options.target); });
  run("specialize_rows",
      [&] { specialize_rows(m); });  // late: all passes above are the same for any number of rows
  run("group_experts", [&] { group_experts(m); });
  run("use_matrix_unit", [&] { use_matrix_unit(m, *options.target); });
  run("fuse_norms", [&] { fuse_norms(m, options.fused_norm_bytes); });
  if (int64_t pages = options.target->attention_part_pages)
    run("split_attention", [&] { split_attention(m, pages); });
  return std::move(run.times);
}

}  // namespace mlc::graph
