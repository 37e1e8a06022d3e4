// Runs functions of a plan: chooses the body that serves a call's dimensions, resolves its expressions,
// submits its calls.
//
// Buffers for addresses and launches are reused, so that steady decode allocates nothing. On a device that
// records, the launches of a step are recorded once per body and shape bucket and replayed: kernels see a
// step's data through the same buffers, and `pages`, which grows with every text, only as an upper bound (a
// power of two).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dims.h"
#include "runtime/memory.h"
#include "runtime/module.h"

namespace mlc::runtime {

// One call of a function at dims whose pool sizes are the executor's own; arguments and results in the plan's
// order. What it points to is the caller's.
struct FunctionCall {
  std::string_view function;
  Dims dims;
  std::span<const DeviceAddress> arguments, results;
};

class Executor {
 public:
  // `weights` in the order of plan().weights.
  Executor(std::shared_ptr<Module> module, std::vector<DeviceAddress> weights);

  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // In the order of plan().states; of `pools` the sizes of their pools.
  void set_states(std::vector<DeviceAddress> states, const Dims& pools);
  // From now on the last body of each function, which serves all, is run whatever the guards of others say.
  void run_last_bodies() { last_bodies_ = true; }

  // Bytes of arena that `function` needs at these dims.
  Result<int64_t> arena_bytes(const std::string& function, const Dims& dims) const;
  // Bytes of the largest buffer, weights aside, that a call of `function` binds at these dims, pool sizes
  // among them.
  Result<int64_t> largest_binding(const std::string& function, const Dims& dims) const;
  // Grows the arena to serve every (function, dims) listed. Error when the device has not enough memory.
  Status reserve_arena(const std::vector<std::pair<std::string, Dims>>& uses);

  // Submits the calls, in order, as one submission. The arena must have been reserved for each. Error:
  // unknown function.
  Status run(std::span<const FunctionCall> calls);

  // To be called before a buffer that run() was given is released: its launches may be recorded.
  void forget_recordings();

  // Position of an argument of a function, or -1.
  int argument_index(const std::string& function, const std::string& argument) const;
  const Module& module() const { return *module_; }
  int64_t arena_bytes_held() const { return arena_.bytes(); }

 private:
  bool last_bodies_ = false;
  Result<const PlanBody*> choose_body(std::string_view function, const Dims& dims) const;
  void resolve(const PlanBody& body, const FunctionCall& call, const std::vector<int64_t>& values);
  Status evaluate(const Dims& dims, std::vector<int64_t>& values) const;
  void flatten(const Dim& e);
  Status resolve_all(std::span<const FunctionCall> calls);
  Dims bucket(Dims dims) const;
  Status run_recorded(std::span<const FunctionCall> calls);

  // The launches of run(calls), where the calls make `key`.
  struct Recorded {
    std::vector<int64_t> key;
    Recording recording;
  };

  // The plan's expressions in postfix order, one after the other.
  struct Token {
    DimOp op;
    int64_t operand;  // the constant, or the symbol's position
    bool last;        // ends an expression
  };

  std::shared_ptr<Module> module_;
  std::vector<Token> tokens_;
  std::vector<int64_t Dims::*> symbols_;  // where the plan's find their values
  std::vector<DeviceAddress> weights_, states_;
  Dims pools_, most_;  // sizes of pools; of one call, the entries of block tables as reserved
  OwnedBuffer arena_;
  std::vector<const PlanBody*> bodies_;  // of a step's calls
  std::vector<int64_t> values_;          // of the plan's expressions, of one call
  std::vector<DeviceAddress> addresses_;
  std::vector<int64_t> dim_values_;
  std::vector<Launch> launches_;
  std::vector<Recorded> recordings_;  // the last used one first
  std::vector<int64_t> key_;
};

}  // namespace mlc::runtime
