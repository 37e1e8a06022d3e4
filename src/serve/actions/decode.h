// Action: begins a step of one token for every request whose prompt is complete.
#pragma once

#include "serve/state.h"

namespace mlc::serve {

// False when no request is decoding.
bool decode(EngineState& state);

}  // namespace mlc::serve
