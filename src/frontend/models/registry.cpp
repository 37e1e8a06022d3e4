// The table of models, of the lines of list.inc.
#include "frontend/models/registry.h"

#include "base/check.h"

namespace mlc::frontend {

#define MODEL(name) const ModelDefinition& name();
#include "frontend/models/list.inc"
#undef MODEL

const std::vector<const ModelDefinition*>& model_definitions() {
  static const std::vector<const ModelDefinition*> definitions = {
#define MODEL(name) &name(),
#include "frontend/models/list.inc"
#undef MODEL
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
