// Reads rope_parameters and rope_scaling.
#include "frontend/config_rope.h"

#include <algorithm>

#include "base/strings.h"
#include "frontend/config_keys.h"

namespace mlc::frontend {
namespace {

// A parameter of a kind of scaling; numbers lie from 0, or above it where they are required, to 1e9. Lengths
// are whole numbers of tokens.
struct ScalingParameter {
  enum class Type : uint8_t { kNumber, kLength, kFlag, kNumbers };
  const char* name;
  bool required = false;
  Type type = Type::kNumber;
};

struct ScalingKind {
  const char* name;
  std::vector<ScalingParameter> parameters;
};

const char kOriginal[] = "original_max_position_embeddings", kLongest[] = "max_position_embeddings";

const std::vector<ScalingKind>& scaling_kinds() {
  using enum ScalingParameter::Type;
  static const std::vector<ScalingKind> kinds = {
      {"dynamic", {{"factor", true}, {kLongest, true, kLength}}},
      {"linear", {{"factor", true}}},
      {"llama3",
       {{"factor", true}, {"low_freq_factor", true}, {"high_freq_factor", true}, {kOriginal, true, kLength}}},
      {"longrope",
       {{"short_factor", true, kNumbers},
        {"long_factor", true, kNumbers},
        {kOriginal, true, kLength},
        {kLongest, true, kLength},
        {"factor"},
        {"attention_factor"}}},
      {"yarn",
       {{"factor", true},
        {kOriginal, true, kLength},
        {"beta_fast"},
        {"beta_slow"},
        {"truncate", false, kFlag},
        {"attention_factor"},
        {"mscale"},
        {"mscale_all_dim"}}},
  };
  return kinds;
}

bool makes_sense(const ScalingParameter& parameter, const Json& value) {
  auto in_range = [&](const Json& v) {
    return v.is_number() && (parameter.required ? v > 0 : v >= 0) && v <= 1e9;
  };
  switch (parameter.type) {
    case ScalingParameter::Type::kFlag: return value.is_boolean();
    case ScalingParameter::Type::kNumber: return in_range(value);
    case ScalingParameter::Type::kLength: return value.is_number_integer() && in_range(value);
    case ScalingParameter::Type::kNumbers:
      return value.is_array() && std::all_of(value.begin(), value.end(), in_range);
  }
  return false;
}

std::string expectation(const ScalingParameter& parameter) {
  const std::string number = parameter.required ? "above 0 and at most 1e9" : "from 0 to 1e9";
  switch (parameter.type) {
    case ScalingParameter::Type::kFlag: return "true or false";
    case ScalingParameter::Type::kNumber: return "a number " + number;
    case ScalingParameter::Type::kLength: return "an integer " + number;
    case ScalingParameter::Type::kNumbers: return "a list of numbers " + number;
  }
  return "";
}

Status check_parameters(const ScalingKind& kind, const Json& scaling, const std::string& what) {
  for (const ScalingParameter& parameter : kind.parameters) {
    const Json* value = find(scaling, parameter.name);
    if (!value && !parameter.required) continue;
    if (!value || !makes_sense(parameter, *value))
      return Status::error(str(what, ": rope_scaling '", parameter.name, "' is ",
                               value ? shown_value(*value) : "missing", ", expected ", expectation(parameter),
                               " with rope_type ", kind.name, "; the config is damaged"));
  }
  auto low = find_number(scaling, "low_freq_factor"), high = find_number(scaling, "high_freq_factor");
  if (std::string_view(kind.name) != "llama3" || *low < *high) return Status::ok();
  return Status::error(str(what, ": rope_scaling low_freq_factor ", *low, " is not below high_freq_factor ",
                           *high, "; the config is damaged"));
}

// Of parameters by kind of layer those of full attention, which all layers must share; where `local_base` is
// given, layers of sliding_attention may have another base, which it receives.
Result<Json> of_full_attention(const Json& parameters, const Json* layer_types, Json* local_base,
                               const std::string& key, const std::string& what) {
  const Json* full = nullptr;
  for (const auto& [type, value] : parameters.items())
    if (value.is_object() && (type == "full_attention" || !full)) full = &value;
  if (!full) return parameters;
  for (const auto& [type, value] : parameters.items()) {
    const bool unused = layer_types && layer_types->is_array() &&
                        std::ranges::find(*layer_types, Json(type)) == layer_types->end();
    if (!value.is_object() || unused) continue;
    if (local_base && type == "sliding_attention" && find(value, "rope_theta") &&
        find_string(value, "rope_type").value_or("default") == "default")
      *local_base = *find(value, "rope_theta");
    else if (value != *full)
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

void note_rest(const ScalingKind* kind, const Json& scaling, const std::string& what,
               std::vector<std::string>& notes) {
  std::vector<std::string> left;
  for (const auto& [name, value] : scaling.items()) {
    const bool read = name == "rope_type" || name == "type" || name == "mrope_section" || name == kLongest ||
                      (kind && std::ranges::find(kind->parameters, name, [](const ScalingParameter& p) {
                                 return std::string(p.name);
                               }) != kind->parameters.end());
    if (!read && !value.is_null() && value != 1) left.push_back(shown_key("rope_scaling." + name, value));
  }
  if (!left.empty()) notes.push_back(str(what, ": not applied with this rope_type: ", join(left, ", ")));
}

// The kind by its newer or older key. "su" is what longrope was called first, also "yarn" with its lists.
std::string kind_of(const Json& scaling, const std::string& what, std::vector<std::string>& notes) {
  const std::optional<std::string> newer = find_string(scaling, "rope_type"),
                                   older = find_string(scaling, "type");
  if (newer && older && newer != older)
    notes.push_back(str(what, ": rope_scaling has type '", *older, "' beside rope_type '", *newer,
                        "', which wins as in transformers"));
  const std::string kind = newer ? *newer : older.value_or("default");
  if (kind == "mrope") return "default";  // of text the same
  const bool lists = find(scaling, "short_factor") && find(scaling, "long_factor");
  return kind == "su" || (kind == "yarn" && lists) ? "longrope" : kind;
}

// Fills in the lengths that a kind refers to and that stand beside the scaling: that of the context, and, for
// kinds that extend a shorter one, that.
void add_lengths(const ScalingKind& kind, const Json& config, Json& scaling) {
  auto refers_to = [&](std::string_view name) {
    return std::ranges::any_of(kind.parameters,
                               [&](const ScalingParameter& p) { return p.required && name == p.name; });
  };
  const Json* longest = find(scaling, kLongest);
  for (const char* name : {kLongest, "max_sequence_length", "n_positions", "context_window_size"})
    if (!longest) longest = find(config, name);
  if (!longest) return;  // a required one is reported as missing
  const Json context = *longest;
  if (refers_to(kLongest)) scaling[kLongest] = context;
  if (!refers_to(kOriginal)) return;
  if (const Json* original = find(config, kOriginal); original && *original != 0)
    scaling[kOriginal] = *original;
  else if (!find(scaling, kOriginal))
    scaling[kOriginal] = context;
  const std::optional<double> original = find_number(scaling, kOriginal);
  if (std::string_view(kind.name) == "yarn" && !find(scaling, "factor") && original > 0.0 &&
      context.is_number())
    scaling["factor"] = context.get<double>() / *original;
}

}  // namespace

Result<Json> with_flat_rope(Json hf, bool local_base, const std::string& what,
                            std::vector<std::string>& notes) {
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
  Json local;
  ASSIGN_OR_RETURN(Json parameters, of_full_attention(*stated, find(hf, "layer_types"),
                                                      local_base ? &local : nullptr, key, what));
  if (!local.is_null()) hf[kLocalBase] = local;
  raise(hf, parameters, "rope_theta", {"rope_theta", "rotary_emb_base", "position_embedding_base"}, key, what,
        notes);
  raise(hf, parameters, "partial_rotary_factor", {"partial_rotary_factor", "rotary_pct"}, key, what, notes);
  hf["rope_scaling"] = parameters.empty() ? Json() : std::move(parameters);
  return hf;
}

Result<Json> read_scaling(const Json& config, const std::string& what, std::vector<std::string>& notes) {
  const Json* stated = find(config, "rope_scaling");
  if (!stated) return Json();
  if (!stated->is_object())
    return Status::error(str(what, ": key 'rope_scaling' is ", json_text(*stated).substr(0, 60),
                             ", expected an object or null; the config is damaged"));
  Json scaling = *stated;
  const std::string name = kind_of(scaling, what, notes);
  std::vector<std::string> names = {"default"};
  const ScalingKind* kind = nullptr;
  for (const ScalingKind& one : scaling_kinds()) {
    if (name == one.name) kind = &one;
    names.push_back(one.name);
  }
  if (!kind && name != "default")
    return Status::error(str(what, ": rope_scaling has rope_type '", name, "', expected ", join(names, ", "),
                             did_you_mean(name, names), "; this scaling is not built"));
  note_rest(kind, scaling, what, notes);
  if (!kind) return Json();
  if (name == "longrope")
    scaling["type"] = name;  // by which MLC knows it
  else
    scaling.erase("type");
  scaling["rope_type"] = name;
  add_lengths(*kind, config, scaling);
  RETURN_IF_ERROR(check_parameters(*kind, scaling, what));
  const bool rescaled = find(scaling, "attention_factor") || find(scaling, "mscale");
  const bool identity = name == "linear" || (name == "yarn" && !rescaled);
  return identity && scaling["factor"] == 1 ? Json() : scaling;
}

Status check_scaling(const RopeSpec& spec, const std::string& what) {
  const int64_t half = spec.rotary_dim / 2;
  if (spec.kind == "dynamic" && half < 2)
    return Status::error(str(what,
                             ": rope_scaling dynamic with 2 rotated elements of each head, expected 4 or "
                             "more; the config is damaged"));
  if (spec.kind == "yarn" && !(spec.theta > 1))
    return Status::error(str(what, ": rope_scaling yarn with rope_theta ", spec.theta,
                             ", expected more than 1; the config is "
                             "damaged"));
  if (spec.kind != "longrope") return Status::ok();
  for (const char* key : {"short_factor", "long_factor"})
    if (const size_t size = spec.scaling[key].size(); size != static_cast<size_t>(half))
      return Status::error(str(what, ": rope_scaling '", key, "' has ", size, " numbers, expected ", half,
                               ", half of the ", spec.rotary_dim,
                               " rotated elements of each head; the config is damaged"));
  if (*find_number(spec.scaling, kOriginal) >= 2) return Status::ok();
  return Status::error(str(what, ": rope_scaling '", kOriginal,
                           "' is 1, expected 2 or more with rope_type longrope; the config is damaged"));
}

}  // namespace mlc::frontend
