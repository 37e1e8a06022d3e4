// Executable invariants of the graph IR. Hold after the frontend and after every pass:
//   * names: parameters, states, and values within a function are unique; bodies that share a function's name
//     agree in arguments and results, are ordered by rows, and the last one is unbounded;
//   * SSA: operands are parameters of this module or values of this function defined before their use; a
//     node's outputs point back to it; each value is owned and defined once;
//   * types: each node's output types are what its op infers; every symbol used in a type is a dimension of
//   an
//     argument, alone or as `symbol + constant`, so that shapes can be bound;
//   * results are values of the function, never parameters.
#pragma once

#include <string>

#include "graph/ir.h"

namespace mlc::graph {

// "" or the first violation, for example "function decode, %3 = matmul: operand 1 has 4 columns, expected 8".
std::string verify(const Module& module);

// Internal error naming `where` ("after fuse_epilogues") when the module violates an invariant.
void check_valid(const Module& module, const std::string& where);

}  // namespace mlc::graph
