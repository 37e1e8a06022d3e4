// What becomes of the keys of a config that are no fields of its config class: those for which a model's
// definition, or the rules for all models, say that they change nothing here are passed over, known others
// are refused, and the rest is listed in one note. Null counts as absent.
#pragma once

#include "frontend/models/registry.h"

namespace mlc::frontend {

// Looks through all keys of `source`, a Hugging Face config or the model_config of MLC's, after its fields
// were read into `config`; notes go to config.notes. `applied` are read elsewhere.
Status check_keys(ModelConfig& config, const Json& source, const std::vector<std::string>& applied,
                  const std::string& what);

// Refuses configs of models around a text model; not to be asked where the definition has text_fields.
Status check_alone(const Json& hf, const std::string& what);

// The value for sentences: its JSON, cut to 100 bytes; NaN and infinity, which JSON lacks, by name.
std::string shown_value(const Json& value);
// "key 'name' (value)".
std::string shown_key(const std::string& name, const Json& value);

}  // namespace mlc::frontend
