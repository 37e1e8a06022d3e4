// Reads the text form of a module (ir.h). Bounded: at most 64 MB of text, one pass, no recursion but in
// dimensions (base/dim.h).
#pragma once

#include <string>
#include <string_view>

#include "graph/ir.h"

namespace mlc::graph {

// Throws UserError "<what>:<line>: ..." on malformed text, an unknown name, or a name defined twice. Types
// are taken as written: verify() (verify.h) says whether they are the ones the ops produce. '#' starts a
// comment that ends its line.
Module parse_module(std::string_view text, const std::string& what = "graph");

}  // namespace mlc::graph
