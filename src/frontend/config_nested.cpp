// Reads a config with another inside as one, and writes what the inner one keeps.
#include "frontend/config_nested.h"

#include <algorithm>

namespace mlc::frontend {
namespace {

constexpr char kRest[] = "kwargs";

const Json& text_model(const Json& source) {
  const Json* text = find(source, kTextConfig);
  return text && text->is_object() ? *text : source;
}

// MLC writes 0 for none.
bool is_no_scaling(const Json& scaling) { return scaling == 0; }

}  // namespace

Json flattened(const ModelDefinition& definition, const Json& source) {
  if (definition.text_fields.empty() || !source.is_object()) return source;
  Json flat = source;
  const Json& text = text_model(source);
  flat.erase(kTextConfig);
  auto lay_under = [&](const Json& object) {
    for (const auto& [key, value] : object.items())
      if (!find(flat, key)) flat[key] = value;
  };
  lay_under(text);
  if (const Json* rest = find(text, kRest); rest && rest->is_object()) lay_under(*rest);
  flat.erase(kRest);
  if (const Json* scaling = find(flat, "rope_scaling"); scaling && is_no_scaling(*scaling))
    flat.erase("rope_scaling");
  if (!flat.contains("is_text_model")) flat["is_text_model"] = !source.contains(kTextConfig);
  return flat;
}

void keep_stated(const ModelDefinition& definition, const Json& source, ModelConfig& config) {
  if (definition.text_fields.empty()) return;
  const Json& text = text_model(source);
  Json& kept = config.fields[kTextConfig];
  kept["rope_scaling"] = text.contains("rope_scaling") ? text["rope_scaling"] : Json(0);
  Json rest = Json::object();
  if (const Json* stated = find(text, kRest))
    rest = *stated;
  else
    for (const auto& [key, value] : text.items()) {
      auto is_key = [&key = key](const ConfigField& field) { return field.name == key; };
      const bool field = std::ranges::any_of(definition.text_fields, is_key) ||
                         (&text == &source && std::ranges::any_of(definition.fields, is_key));
      if (!field && key != "rope_theta") rest[key] = value;  // that is position_embedding_base
    }
  kept[kRest] = std::move(rest);
}

}  // namespace mlc::frontend
