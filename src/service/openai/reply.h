// What a caller of the API gets back, piece by piece.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "service/openai/api_error.h"

namespace mlc::serve::openai {

using CallId = int64_t;

struct Reply {
  int status = 200;        // of HTTP; an error before anything else was said comes alone, with its own
  std::string text;        // a whole JSON text (or of /metrics, plain text); "" where only `last` is news
  bool stream = false;     // one of many: a chunk of a stream
  bool last = true;        // nothing follows
  const char* event = "";  // of a stream: its name, where the protocol names events
};
// Called once with `last`. The first call may come before submit() returns, on its thread; later ones come on
// the engine's thread. Must not block.
using ReplyCallback = std::function<void(const Reply&)>;

inline Reply error_reply(const ApiError& error) { return {.status = error.status, .text = error.json()}; }

}  // namespace mlc::serve::openai
