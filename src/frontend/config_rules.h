// The rules that turn the fields a checkpoint states into a complete, consistent config (mlc-facts 4.3).
#pragma once

#include "frontend/models/registry.h"

namespace mlc::frontend {

// What the field expects ("an integer from 1 to 4096"), or "" when `value` is that.
std::string mismatch(const ConfigField& field, const Json& value);

// Whether 0 stands for "not said" in this field.
bool zero_means_inferred(const ConfigField& field);

// Fills context, prefill chunk, head counts and head_dim where they are 0 and checks the fields against each
// other. A context that the file does not state may be given later, by a flag. `what` starts the messages.
enum class Context : uint8_t { kNow, kLater };
Status resolve(ModelConfig& config, Context needed, const std::string& what);

// ModelDefinition::infer of classes that ask for shorter prefill chunks than others.
void infer_short_chunk(ModelConfig& config);

// Whether the lists of `source` that have an entry for each layer (layer_types, no_rope_layers) are as long
// as the model has layers.
Status check_layer_lists(const ModelConfig& config, const Json& source, const std::string& what);

// Prefill chunks are not longer where nothing else is said (mlc-facts 4.3).
inline constexpr int64_t kDefaultPrefillChunk = 8192;

// The window of the layers that have one: that of the checkpoint, which drops no tokens and has no sinks; 0 =
// none, or another one that the user asked for instead, which rolls.
int64_t layer_window(const ModelConfig& config);

// The rolling window that the keys of `source` (mlc-chat-config.json) ask for, see parse_mlc_config; it may
// cut the prefill chunk.
Status resolve_window(ModelConfig& config, const Json& source, const std::string& what);

}  // namespace mlc::frontend
