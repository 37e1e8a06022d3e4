// Models that the user names by their place on a hub (HF://user/repo, an address) instead of a folder.
#pragma once

#include <string>

#include "base/status.h"
#include "hub/file_list.h"

namespace mlc::cli {

// A path: `model` itself, or where the model of that name lies below MLC_LLM_HOME, downloaded first if
// MLC_DOWNLOAD_CACHE_POLICY allows. `need`: what of it. Ctrl-C keeps what has arrived. Errors: one sentence
// that starts with the name.
Result<std::string> local_model(const std::string& model, hub::Need need);
// The same into a folder of the caller's.
Result<std::string> local_model(const std::string& model, hub::Need need, const std::string& folder);

}  // namespace mlc::cli
