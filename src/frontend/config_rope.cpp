// Reads rope_parameters and rope_scaling.
#include "frontend/config_rope.h"

#include <algorithm>

#include "base/strings.h"
#include "frontend/config_keys.h"

namespace mlc::frontend {
namespace {

// The four numbers of llama3 scaling, which the runtime computes with.
Status check_llama3(const Json& scaling, const std::string& what) {
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    ASSIGN_OR_RETURN(double value, get_number(scaling, key, what + ": rope_scaling"));
    if (!(value > 0 && value <= 1e9))
      return Status::error(str(what, ": rope_scaling '", key, "' is ", value,
                               ", expected a number above 0 and at most 1e9; the config is damaged"));
  }
  const double low = *find_number(scaling, "low_freq_factor"),
               high = *find_number(scaling, "high_freq_factor");
  if (low < high) return Status::ok();
  return Status::error(str(what, ": rope_scaling low_freq_factor ", low, " is not below high_freq_factor ",
                           high, "; the config is damaged"));
}

// Of parameters by kind of layer those of full attention, which all layers must share.
Result<Json> of_full_attention(const Json& parameters, const Json* layer_types, const std::string& key,
                               const std::string& what) {
  const Json* full = nullptr;
  for (const auto& [type, value] : parameters.items())
    if (value.is_object() && (type == "full_attention" || !full)) full = &value;
  if (!full) return parameters;
  for (const auto& [type, value] : parameters.items()) {
    const bool unused = layer_types && layer_types->is_array() &&
                        std::ranges::find(*layer_types, Json(type)) == layer_types->end();
    if (!value.is_object() || value == *full || unused) continue;
    return Status::error(
        str(what, ": key '", key, "' has another rotation for layers of type '", type,
            "' than for others, expected one for all; this variant of the model is not built"));
  }
  return *full;
}

// Moves a value from the parameters to the top level, where it may stand under several names.
void raise(Json& hf, Json& parameters, const std::string& name, const std::vector<std::string>& names,
           const std::string& key, const std::string& what, std::vector<std::string>& notes) {
  const Json* inner = find(parameters, name);
  if (!inner) return;
  for (const std::string& other : names) {
    if (const Json* outer = find(hf, other); outer && *outer != *inner)
      notes.push_back(str(what, ": ", shown_key(other, *outer), " is not applied: '", key, "' has '", name,
                          "' ", json_text(*inner), ", which wins as in transformers"));
    hf.erase(other);
  }
  hf[name] = *inner;
  parameters.erase(name);
}

// Whether a scaling of this kind leaves all positions as they are.
bool is_identity(const std::string& kind, const Json& scaling) {
  if (kind == "default" || kind == "mrope") return true;  // mrope: of text the same as default
  const bool by_factor = kind == "linear" || kind == "dynamic" || kind == "yarn";
  return by_factor && find_number(scaling, "factor") == 1;
}

void note_rest(const Json& scaling, const std::vector<std::string>& read, const std::string& what,
               std::vector<std::string>& notes) {
  std::vector<std::string> left;
  for (const auto& [name, value] : scaling.items())
    if (!value.is_null() && value != 1 && std::ranges::find(read, name) == read.end())
      left.push_back(shown_key("rope_scaling." + name, value));
  if (!left.empty()) notes.push_back(str(what, ": not applied with this rope_type: ", join(left, ", ")));
}

}  // namespace

Result<Json> with_flat_rope(Json hf, const std::string& what, std::vector<std::string>& notes) {
  const Json *older = find(hf, "rope_scaling"), *newer = find(hf, "rope_parameters");
  if (older && older->empty()) older = nullptr;
  if (older && newer && *older != *newer)
    notes.push_back(str(what, ": ", shown_key("rope_parameters", *newer),
                        " is not applied: 'rope_scaling' wins, as in transformers"));
  const std::string key = older ? "rope_scaling" : "rope_parameters";
  const Json* stated = older ? older : newer;
  if (!stated) return hf;
  if (!stated->is_object())
    return Status::error(str(what, ": ", "key '", key, "' is ", json_text(*stated).substr(0, 60),
                             ", expected an object or null; the config is damaged"));
  ASSIGN_OR_RETURN(Json parameters, of_full_attention(*stated, find(hf, "layer_types"), key, what));
  raise(hf, parameters, "rope_theta", {"rope_theta", "rotary_emb_base", "position_embedding_base"}, key, what,
        notes);
  raise(hf, parameters, "partial_rotary_factor", {"partial_rotary_factor", "rotary_pct"}, key, what, notes);
  hf["rope_scaling"] = parameters.empty() ? Json() : std::move(parameters);
  return hf;
}

Result<Json> supported_scaling(const Json& scaling, const std::vector<std::string>& kinds,
                               const std::string& what, std::vector<std::string>& notes) {
  if (!scaling.is_object())
    return Status::error(str(what, ": key 'rope_scaling' is ", json_text(scaling).substr(0, 60),
                             ", expected an object or null; the config is damaged"));
  const std::optional<std::string> newer = find_string(scaling, "rope_type"),
                                   older = find_string(scaling, "type");
  if (newer && older && newer != older)
    notes.push_back(str(what, ": rope_scaling has type '", *older, "' beside rope_type '", *newer,
                        "', which wins as in transformers"));
  const std::string kind = newer ? *newer : older.value_or("");
  const std::string shown = str(what, ": ", shown_key("rope_scaling", scaling));
  if (is_identity(kind, scaling)) {
    note_rest(scaling, {"rope_type", "type", "mrope_section"}, what, notes);
    return Json();
  }
  if (kind == "llama3" && std::ranges::find(kinds, kind) != kinds.end()) {
    RETURN_IF_ERROR(check_llama3(scaling, what));
    note_rest(scaling,
              {"rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
               "original_max_position_embeddings"},
              what, notes);
    Json applied = scaling;
    if (!newer) applied["rope_type"] = kind, applied.erase("type");
    return applied;
  }
  if (kind == "dynamic") {
    notes.push_back(str(shown,
                        " is not applied: answers are right within the context that the model was trained "
                        "on, and degrade beyond it"));
    return Json();
  }
  if (newer) {
    std::vector<std::string> built = kinds;
    built.push_back("default");
    return Status::error(str(what, ": rope_scaling has rope_type '", *newer, "', expected ",
                             join(built, " or "), did_you_mean(*newer, built),
                             "; this scaling is not built"));
  }
  notes.push_back(str(shown, older ? "" : " has no rope_type and",
                      " is ignored, as MLC does: the model runs with unscaled rotation, so its answers "
                      "differ from those of transformers"));
  return Json();
}

}  // namespace mlc::frontend
