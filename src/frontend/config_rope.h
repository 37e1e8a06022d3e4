// Where configs state how positions rotate, and in which spellings.
#pragma once

#include "frontend/models/registry.h"

namespace mlc::frontend {

// The base of layers with a window, where it differs from that of the others; gemma3's name for it.
inline constexpr char kLocalBase[] = "rope_local_base_freq";

// `hf` with what rope_parameters (transformers 5), rope_scaling (older), or either of them by kind of layer,
// say: base and rotated part of a head at the top level, where fields are read, over values that stood there
// (with a note), the scaling as "rope_scaling". As in transformers, rope_scaling wins where it is not empty.
// Kinds of layers must rotate alike, but for the base of sliding_attention where `local_base` says that the
// model has one.
Result<Json> with_flat_rope(Json hf, bool local_base, const std::string& what,
                            std::vector<std::string>& notes);

// The rope_scaling of a flat config as transformers reads it: null where nothing is scaled, else its
// parameters with a rope_type, and the lengths that its kind refers to. Kinds that are not built and
// parameters that make no sense are refused, those that the kind does not read are noted.
Result<Json> read_scaling(const Json& config, const std::string& what, std::vector<std::string>& notes);

// Whether the scaling suits the rotated part of a head.
Status check_scaling(const RopeSpec& spec, const std::string& what);

}  // namespace mlc::frontend
