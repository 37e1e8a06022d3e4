// Where configs state how positions rotate, and in which spellings.
#pragma once

#include "frontend/models/registry.h"

namespace mlc::frontend {

// `hf` with what rope_parameters (transformers 5), rope_scaling (older), or either of them by kind of layer,
// say: base and rotated part of a head at the top level, where fields are read, over values that stood there
// (with a note), the scaling as "rope_scaling". As in transformers, rope_scaling wins where it is not empty.
Result<Json> with_flat_rope(Json hf, const std::string& what, std::vector<std::string>& notes);

// The scaling that fields and runtime take: null, or an object with a rope_type among `kinds`. Scalings of
// other kinds are refused, or where MLC drops them (the older key "type") or they change only what lies
// beyond the context (dynamic) left out with a note.
Result<Json> supported_scaling(const Json& scaling, const std::vector<std::string>& kinds,
                               const std::string& what, std::vector<std::string>& notes);

}  // namespace mlc::frontend
