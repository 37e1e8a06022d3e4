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

// Checks and dumps the result of one pass.
Function after(const char* pass, Function function, const PassOptions& options) {
  std::string problem = verify(function);
  internal_check(problem.empty(), str("kernel ", function.name, " after ", pass, ": ", problem));
  if (options.dump) options.dump(str(function.name, "-after-", pass, ".txt"), print(function));
  return function;
}

}  // namespace

Function run_passes(Function function, const PassOptions& options) {
  const Target& target = *options.target;
  function = after("lower", std::move(function), options);
  if (!target.native_math) function = after("expand_math", expand_math(std::move(function)), options);
  function =
      after("legalize", legalize(std::move(function), target), options);  // after expand_math: it may use fma
  if (target.is_gpu())
    function = after("expand_subgroups", expand_subgroups(std::move(function), target), options);
  if (target.is_gpu())
    function = after("narrow_indices", narrow_indices(std::move(function)),
                     options);  // after all that computes indices
  if (target.is_gpu()) function = after("unify_accesses", unify_accesses(std::move(function)), options);
  function = after("place_shared", place_shared(std::move(function)), options);
  if (!target.is_gpu()) return function;
  std::string problem = verify_device(function);
  internal_check(problem.empty(), str("kernel ", function.name, " for ", target.name, ": ", problem));
  internal_check(function.scratch_bytes <= target.shared_bytes,
                 str("kernel ", function.name, " wants ", function.scratch_bytes, " bytes of shared memory, ",
                     target.name, " has ", target.shared_bytes));
  return function;
}

}  // namespace mlc::kernel
