// Configs with another inside for the text model: Hugging Face's of models that read images too, and MLC's
// classes of such families.
#pragma once

#include "frontend/models/registry.h"

namespace mlc::frontend {

inline constexpr char kTextConfig[] = "text_config";

// All keys in one object, from which fields are read: those of `text_config`, and of its `kwargs` in MLC's
// files, under those around it; and "is_text_model", whether it is the text model's alone. `source` as it is
// where the definition has no text_fields.
Json flattened(const ModelDefinition& definition, const Json& source);

// What MLC's class inside keeps as the checkpoint has it: rope_scaling, and as `kwargs` all that is no field.
void keep_stated(const ModelDefinition& definition, const Json& source, ModelConfig& config);

}  // namespace mlc::frontend
