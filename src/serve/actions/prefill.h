// Action: begins a step over a chunk of the prompts of waiting and half-prefilled requests.
#pragma once

#include "serve/state.h"

namespace mlc::serve {

// Admits waiting requests while there is room and begins to run at most prefill_chunk of their tokens. A
// request whose prompt is then complete gets its first token. False when there was nothing to do.
bool prefill(EngineState& state);

}  // namespace mlc::serve
