// A Metal device without Metal: clang compiles the text of kernels against metal/metal_stdlib to a shared
// object, and threads of a group take turns on this CPU (metal/run_groups.h). A name or type that Metal
// lacks, an access outside of a binding's memory, and threads that part at a barrier are errors.
#pragma once

#include <string>

namespace mlc {

// Makes open_device("metal") known; further calls do nothing. `sources` is the folder src/simulate/metal. Not
// safe to call from several threads at once.
void register_metal_simulator(const std::string& sources);

}  // namespace mlc
