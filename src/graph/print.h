// The text form of a module; ir.h shows it. parse.h reads it back to an equal module.
#pragma once

#include <string>

#include "graph/ir.h"

namespace mlc::graph {

std::string print(const Module& module);
std::string print(const Function& function);  // indented as inside a module
std::string print(const Node& node);          // one statement without indent or newline
std::string print(const Attribute& value);    // doubles in the shortest form that reads back to the same bits

}  // namespace mlc::graph
