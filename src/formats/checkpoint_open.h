// From the files that make up a checkpoint to the checkpoint.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/checkpoint.h"

namespace mlc {

// `paths`: an index alone, one GGUF file (which names its parts itself), or all files that hold the tensors,
// of any kind. Errors name the file that is missing or not whole.
Result<std::unique_ptr<Checkpoint>> open_weight_files(const std::vector<std::string>& paths);

}  // namespace mlc
