// Which metadata keys of a GGUF file change what a model computes, and what becomes of those that are not
// applied.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "formats/gguf.h"

namespace mlc {

// Looks through the metadata after gguf_config() made `config` of it. Keys of the architecture, of sampling
// and of the tokenizer that are present, not applied and not known to be harmless are refused where the model
// would compute something else, and otherwise listed in one note. Other tools' keys (quantize.*, split.*)
// pass.
Status check_gguf_keys(const Gguf& gguf, const Json& config, const std::string& what,
                       std::vector<std::string>& notes);

}  // namespace mlc
