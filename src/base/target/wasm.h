// WebAssembly's CPU: what every engine with fixed-width vectors runs.
#pragma once

#include <vector>

#include "base/target/target.h"

namespace mlc {

// The variants of a library for wasm32, best first.
std::vector<Target> wasm_targets();

}  // namespace mlc
