// The reference interpreter: runs a function of a module on host tensors, one node after the other.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "graph/ops/registry.h"

namespace mlc::graph {

// A parameter by name, dequantized to floats, in its logical shape ([N, K], also when stored transposed). The
// reference must stay valid during the call.
using ParameterProvider = std::function<const HostTensor&(const std::string& name)>;

// Pages, or slots, of zeros for each state of the module.
std::map<std::string, HostState> make_states(const Module& module, int64_t pages, int64_t slots = 0);

// The first body of `function` that serves these values of its dimensions; UserError when the module has no
// such function.
const Function& select_body(const Module& module, const std::string& function,
                            const std::map<std::string, int64_t>& symbols);

// Runs one body. Arguments by name; their shapes bind the dimensions. Values are freed after their last use.
// Throws UserError on a missing argument, one of another dtype, rank or inconsistent shape, or an index
// outside of its table.
std::vector<HostTensor> interpret(const Module& module, const Function& function,
                                  const std::map<std::string, HostTensor>& arguments,
                                  const ParameterProvider& parameters,
                                  std::map<std::string, HostState>& states);

// The same by name, choosing the body by the dimensions of the arguments.
std::vector<HostTensor> interpret(const Module& module, const std::string& function,
                                  const std::map<std::string, HostTensor>& arguments,
                                  const ParameterProvider& parameters,
                                  std::map<std::string, HostState>& states);

}  // namespace mlc::graph
