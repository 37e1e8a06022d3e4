// Chooses what the next step computes: one batch of the newest token of every running answer and, up to a
// budget of tokens, of parts of prompts. So no answer waits for longer than one such step. Beside answers the
// budget of prompts is small: a step of many rows takes as long as many small ones.
//
// Memory: a request is admitted once there is room for its whole prompt beside those that run. When answers
// outgrow the memory, kept sequences make way, then the request that was admitted last: it waits again, and
// is computed anew. Only one that runs alone ends for lack of memory.
#pragma once

#include "serve/state.h"

namespace mlc::serve {

// Begins the next step; false when nothing is left to do. Precondition: none is under way.
bool schedule(EngineState& state);

}  // namespace mlc::serve
