// The table of models, sorted: for each its function, defined in the file of that name, and its line.
#include "frontend/models/registry.h"

#include "base/check.h"

namespace mlc::frontend {

const ModelDefinition& gemma();
const ModelDefinition& gpt_neox();
const ModelDefinition& llama();
const ModelDefinition& qwen2();

const std::vector<const ModelDefinition*>& model_definitions() {
  static const std::vector<const ModelDefinition*> definitions = {
      &gemma(),
      &gpt_neox(),
      &llama(),
      &qwen2(),
  };
  return definitions;
}

const ModelDefinition& model_definition(const std::string& model_type) {
  for (const ModelDefinition* definition : model_definitions())
    if (definition->model_type == model_type) return *definition;
  internal_error("no model file for model_type " + model_type);
}

std::vector<std::string> model_types() {
  std::vector<std::string> names;
  for (const ModelDefinition* definition : model_definitions()) names.push_back(definition->model_type);
  return names;
}

}  // namespace mlc::frontend
