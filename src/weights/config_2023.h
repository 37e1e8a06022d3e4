// mlc-chat-config.json as it is read everywhere: those of 2023 say neither shapes nor code, which are found
// out from the weights beside them.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace mlc::weights {

// The config at `path`. One without `model_config` beside weights of 2023 (formats/params_2023.h) gets all of
// today's keys: shapes and code by the weights; heads and what else no weight tells by config.json, where the
// checkpoint's lies there, else by the sizes of the models that were built in 2023. Errors name the file: no
// object; a model of none of these sizes.
Result<Json> read_chat_config(const std::string& path);

}  // namespace mlc::weights
