// The kernel pipeline: one pass per line.
#include "kernel/pipeline.h"

#include "base/check.h"
#include "base/strings.h"
#include "kernel/passes/expand_math.h"
#include "kernel/passes/expand_subgroups.h"
#include "kernel/passes/legalize.h"
#include "kernel/passes/narrow_indices.h"
#include "kernel/passes/place_shared.h"
#include "kernel/passes/unify_accesses.h"
#include "kernel/print.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

void check_valid(const Function& function, const char* pass) {
  std::string problem = verify(function);
  internal_check(problem.empty(), "kernel ", function.name, " after ", pass, ": ", problem);
}

class Runner {
 public:
  Runner(Function& function, const PassOptions& options) : function_(function), options_(options) {
    check_valid(function_, "lower");
    dump("lower");
  }

  // Checks the result where the pass changed something.
  template <typename Pass>
  void operator()(const char* name, Pass pass) {
    const std::vector<StmtRef> before = function_.body;
    function_ = pass(std::move(function_));
    if (function_.body != before) check_valid(function_, name);
    dump(name);
  }

 private:
  void dump(const char* pass) const {
    if (options_.dump) options_.dump(str(function_.name, "-after-", pass, ".txt"), print(function_));
  }

  Function& function_;
  const PassOptions& options_;
};

}  // namespace

Function run_passes(Function function, const PassOptions& options) {
  const Target& target = *options.target;
  Runner run(function, options);
  if (!target.native_math) run("expand_math", [](Function f) { return expand_math(std::move(f)); });
  run("legalize",
      [&](Function f) { return legalize(std::move(f), target); });  // after expand_math: it may use fma
  if (target.is_gpu()) {
    run("expand_subgroups", [&](Function f) { return expand_subgroups(std::move(f), target); });
    run("narrow_indices",
        [](Function f) { return narrow_indices(std::move(f)); });  // after all that computes indices
    run("unify_accesses", [](Function f) { return unify_accesses(std::move(f)); });
  }
  run("place_shared", [](Function f) { return place_shared(std::move(f)); });
  if (!target.is_gpu()) return function;
  std::string problem = verify_device(function);
  internal_check(problem.empty(), "kernel ", function.name, " for ", target.name, ": ", problem);
  internal_check(function.scratch_bytes <= target.shared_bytes, "kernel ", function.name, " wants ",
                 function.scratch_bytes, " bytes of shared memory, ", target.name, " has ",
                 target.shared_bytes);
  return function;
}

}  // namespace mlc::kernel
