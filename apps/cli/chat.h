// A conversation at the terminal, for `chat` and for the mlc_chat_cli of 2023.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/sampling.h"
#include "apps/cli/session.h"

namespace mlc::cli {

struct ChatFlags {
  SessionFlags session;
  std::vector<GivenSetting> settings;
  std::optional<std::string> prompt, system_prompt;
  // Where set, /reload [local_id] opens the model that this finds; "" is the one that is open.
  std::function<Result<SessionFlags>(const std::string& local_id)> reload;
};

// Returns the exit code.
Result<int> chat(ChatFlags flags);

}  // namespace mlc::cli
