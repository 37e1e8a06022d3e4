// Who uses which value, and the edits of a function that passes share.
#pragma once

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/ir.h"

namespace mlc::graph {

// Users of each value, once per use (operand or operand of the region); nullptr stands for "is a result of
// the function".
using Uses = std::unordered_map<const Value*, std::vector<Node*>>;
Uses find_uses(const Function& function);

// Index of each node in the function's list.
std::unordered_map<const Node*, size_t> node_positions(const Function& function);

// Every use of a key becomes a use of its value.
void replace_uses(Function& function, const std::unordered_map<const Value*, Value*>& replacements);

// Removes the nodes and the values they produce.
void erase_nodes(Function& function, const std::unordered_set<const Node*>& nodes);

}  // namespace mlc::graph
