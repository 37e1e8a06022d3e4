// Reads model configs by the field tables of the model files.
#include "frontend/config.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "frontend/config_keys.h"
#include "frontend/config_nested.h"
#include "frontend/config_rope.h"
#include "frontend/config_rules.h"

namespace mlc::frontend {
namespace {

const ModelDefinition* definition_of(const std::string& name, std::string ModelDefinition::* member) {
  for (const ModelDefinition* definition : model_definitions())
    if (definition->*member == name) return definition;
  return nullptr;
}

// The definition whose class Hugging Face's key 'architectures' names.
const ModelDefinition* find_architecture(const Json& source) {
  const Json* classes = find(source, "architectures");
  if (!classes || !classes->is_array()) return nullptr;
  for (const Json& name : *classes)
    if (const ModelDefinition* found =
            name.is_string() ? definition_of(name, &ModelDefinition::architecture) : nullptr)
      return found;
  return nullptr;
}

// The model type by flag, by the file's `stated`, or where that is missing by the class that the file names.
// A name in a file was written by a program: an unknown one is another model's, no misspelling.
Result<const ModelDefinition*> find_definition(const Json* stated, const Json& source,
                                               const std::string& flag, const std::string& what) {
  const bool by_flag = flag != "auto" && !flag.empty();
  if (!by_flag && !stated)
    if (const ModelDefinition* found = find_architecture(source)) return found;
  if (!by_flag && (!stated || !stated->is_string())) {
    const Json* classes = find(source, "architectures");
    return Status::error(str(what, ": key 'model_type' has ",
                             stated ? json_text(*stated).substr(0, 40) : "nothing",
                             classes ? str(" and 'architectures' ", json_text(*classes).substr(0, 60)) : "",
                             ", expected one of ", join(model_types(), ", "), "; give it with --model-type"));
  }
  const std::string name = by_flag ? flag : stated->get<std::string>();
  if (const ModelDefinition* found = definition_of(name, &ModelDefinition::model_type)) return found;
  return Status::error(str(by_flag ? "--model-type" : what, ": model_type '", name,
                           "' is not built, expected one of ", join(model_types(), ", "),
                           by_flag ? did_you_mean(name, model_types()) : ""));
}

Json fallback_of(const ConfigField& field) {
  return Json::parse(field.fallback, nullptr, /*allow_exceptions=*/false);
}

// The value of one field: under its own name, else an alias, else the default.
Result<Json> read_field(const ConfigField& field, const Json& source, const std::string& what) {
  std::vector<std::string> names = {field.name};
  names.insert(names.end(), field.aliases.begin(), field.aliases.end());
  for (const std::string& name : names) {
    const Json* value = find(source, name);
    if (!value || (zero_means_inferred(field) && *value == 0 && name == field.name)) continue;
    if (std::string expected = mismatch(field, *value); !expected.empty())
      return Status::error(str(what, ": key '", name, "' is ", shown_value(*value), ", expected ", expected,
                               "; the config is damaged"));
    return *value;
  }
  if (!field.fallback.empty()) return fallback_of(field);
  std::vector<std::string> present;
  if (source.is_object())
    for (const auto& item : source.items()) present.push_back(item.key());
  return Status::error(str(what, ": key '", field.name,
                           "' is missing, expected it in the config of this model",
                           did_you_mean(field.name, present)));
}

// rope_scaling: in MLC's field where the config class has it and knows the kind, else among the source
// fields. A field that keeps it has it too, as `kept`, the file's own.
Status read_rope_scaling(const ModelDefinition& definition, const Json& source, const std::string& what,
                         const Json* kept, ModelConfig& config) {
  ASSIGN_OR_RETURN(Json scaling, read_scaling(source, what, config.notes));
  const std::string kind = find_string(scaling, "rope_type").value_or("");
  const bool known = std::ranges::find(definition.field_scalings, kind) != definition.field_scalings.end();
  const bool has_field = config.fields.contains("rope_scaling"), in_field = has_field && known;
  if (!definition.keeps_scaling) kept = nullptr;
  if (has_field) config.fields["rope_scaling"] = in_field ? scaling : kept ? *kept : Json();
  config.source_fields["rope_scaling"] = in_field ? Json() : std::move(scaling);
  return Status::ok();
}

// All fields. `source` is flat (config_rope.h); `scaling`: the file's rope_scaling as it stands there.
Result<ModelConfig> read_fields(const ModelDefinition& definition, const Json& source, const Json* scaling,
                                Context needed, const std::string& what) {
  ModelConfig config;
  config.model_type = definition.model_type;
  config.source = what;
  config.fields = config.source_fields = Json::object();
  for (const ConfigField& field : definition.text_fields) {
    ASSIGN_OR_RETURN(config.fields[kTextConfig][field.name], read_field(field, source, what));
  }
  for (const ConfigField& field : definition.fields) {
    ASSIGN_OR_RETURN(config.fields[field.name], read_field(field, source, what));
  }
  for (const ConfigField& field : definition.source_fields) {
    ASSIGN_OR_RETURN(config.source_fields[field.name], read_field(field, source, what));
  }
  RETURN_IF_ERROR(read_rope_scaling(definition, source, what, scaling, config));
  RETURN_IF_ERROR(check_layer_lists(config, source, what));
  RETURN_IF_ERROR(resolve(config, needed, what));
  return config;
}

Status check_object(const Json& json, const std::string& what) {
  if (json.is_object()) return Status::ok();
  return Status::error(
      str(what, ": found a JSON ", json.type_name(), ", expected an object; is it a model config?"));
}

struct Override {
  std::string field, flag;
  std::optional<int64_t> value;
};

std::vector<Override> list_overrides(const ConfigOverrides& o) {
  return {
      {"context_window_size", "--context-window-size", o.context_window_size},
      {"sliding_window_size", "--sliding-window-size", o.sliding_window_size},
      {"prefill_chunk_size", "--prefill-chunk-size", o.prefill_chunk_size},
      {"attention_sink_size", "--attention-sink-size", o.attention_sink_size},
      {"tensor_parallel_shards", "--tensor-parallel-shards", o.tensor_parallel_shards},
      {"pipeline_parallel_stages", "--pipeline-parallel-stages", o.pipeline_parallel_stages},
      {"max_batch_size", "--max-batch-size", o.max_batch_size},
  };
}

// What `source_config` of mlc-chat-config.json states goes over the other keys. Where MLC wrote the file, a
// note names what the family's checkpoints state and its models leave out.
Result<std::vector<std::string>> lay_over_source_config(const ModelDefinition& definition, const Json& mlc,
                                                        const std::string& what, Json& merged) {
  std::vector<std::string> notes, unknown, missing;
  const Json* stated = find(mlc, "source_config");
  if (stated) {
    RETURN_IF_ERROR(check_object(*stated, what + ": key 'source_config'"));
  }
  std::vector<std::string> names = {"rope_scaling"};
  for (const ConfigField& field : definition.source_fields) {
    names.push_back(field.name);
    if (field.always_stated && !find(merged, field.name) && !(stated && find(*stated, field.name)))
      missing.push_back(str("'", field.name, "'"));
  }
  const Json source = stated ? *stated : Json::object();
  for (const auto& [name, value] : source.items()) {
    if (std::ranges::find(names, name) == names.end())
      unknown.push_back(shown_key(name, value));
    else
      merged[name] = value;
  }
  if (!unknown.empty())
    notes.push_back(str(what, ": source_config has ", join(unknown, ", "), ", which models of type ",
                        definition.model_type, " do not apply"));
  if (!missing.empty())
    notes.push_back(
        str(what, ": no 'source_config' states ", join(missing, ", "), ", so the model computes as ",
            "MLC's does, which differs from transformers; convert the checkpoint again to mend it"));
  return notes;
}

const ConfigField* find_field(const ModelDefinition& definition, const std::string& name) {
  for (const ConfigField& field : definition.fields)
    if (field.name == name) return &field;
  return nullptr;
}

bool has_local_base(const ModelDefinition& definition) {
  return std::ranges::find(definition.source_fields, kLocalBase, &ConfigField::name) !=
         definition.source_fields.end();
}

void note_ignored(ModelConfig& config, const std::string& flag, const std::string& field) {
  config.notes.push_back(str(flag, ": models of type ", config.model_type, " have no ", field, "; ignored"));
}

}  // namespace

bool ModelConfig::has(const std::string& key) const {
  return fields.contains(key) || (fields.contains(kTextConfig) && fields[kTextConfig].contains(key));
}

const Json& ModelConfig::get(const std::string& key) const {
  const Json& from = fields.contains(key) ? fields : has(key) ? fields[kTextConfig] : source_fields;
  auto it = from.find(key);
  internal_check(it != from.end(), "config field ", key, " was not filled");
  return *it;
}

int64_t ModelConfig::get_int(const std::string& key) const {
  const Json& value = get(key);
  internal_check(value.is_number_integer(), "config field ", key, " is no integer");
  return value.get<int64_t>();
}

double ModelConfig::get_double(const std::string& key) const {
  const Json& value = get(key);
  internal_check(value.is_number(), "config field ", key, " is no number");
  return value.get<double>();
}

bool ModelConfig::get_bool(const std::string& key) const {
  const Json& value = get(key);
  internal_check(value.is_boolean(), "config field ", key, " is no flag");
  return value.get<bool>();
}

ModelShape model_shape(const ModelConfig& config) {
  const ShapeFields& names = model_definition(config.model_type).shape;
  ModelShape shape{.vocab = config.get_int(names.vocab),
                   .hidden = config.get_int(names.hidden),
                   .layers = config.get_int(names.layers)};
  if (names.heads.empty()) return shape;
  shape.heads = config.get_int(names.heads);
  shape.kv_heads = config.has(names.kv_heads) ? config.get_int(names.kv_heads) : shape.heads;
  shape.head_dim = config.has(names.head_dim) ? config.get_int(names.head_dim) : shape.hidden / shape.heads;
  return shape;
}

Json source_config(const ModelConfig& config) {
  Json stated = Json::object();
  const ModelDefinition& definition = model_definition(config.model_type);
  if (!definition.text_fields.empty()) return stated;  // its kwargs state all
  for (const ConfigField& field : definition.source_fields) {
    const Json& value = config.source_fields[field.name];
    if (field.always_stated || value != fallback_of(field)) stated[field.name] = value;
  }
  if (const Json* scaling = find(config.source_fields, "rope_scaling")) stated["rope_scaling"] = *scaling;
  return stated;
}

Result<ModelConfig> parse_hf_config(const Json& hf, const std::string& model_type_flag,
                                    const std::string& what) {
  RETURN_IF_ERROR(check_object(hf, what));
  ASSIGN_OR_RETURN(std::optional<Packing> packing, parse_packing(hf, what));
  const Result<const ModelDefinition*> found =
      find_definition(find(hf, "model_type"), hf, model_type_flag, what);
  if (!found.is_ok() || (*found)->text_fields.empty()) {
    RETURN_IF_ERROR(check_alone(hf, what));
  }
  ASSIGN_OR_RETURN(const ModelDefinition* definition, found);
  std::vector<std::string> notes;
  ASSIGN_OR_RETURN(Json flat,
                   with_flat_rope(flattened(*definition, hf), has_local_base(*definition), what, notes));
  ASSIGN_OR_RETURN(ModelConfig config,
                   read_fields(*definition, flat, find(flat, "rope_scaling"), Context::kLater, what));
  keep_stated(*definition, hf, config);
  config.notes.insert(config.notes.begin(), notes.begin(), notes.end());
  config.packing = std::move(packing);
  RETURN_IF_ERROR(check_keys(config, flat, {}, what));
  return config;
}

Result<ModelConfig> parse_mlc_config(const Json& mlc, const std::string& model_type_flag,
                                     const std::string& what) {
  RETURN_IF_ERROR(check_object(mlc, what));
  Json merged = mlc;
  const Json* nested = find(mlc, "model_config");
  const Json* model_type = find(mlc, "model_type");
  if (nested) {
    RETURN_IF_ERROR(check_object(*nested, what + ": key 'model_config'"));
    if (!model_type) model_type = find(*nested, "model_type");
    merged = *nested;
    for (const auto& item : mlc.items())
      if (item.key() != "model_config") merged[item.key()] = item.value();
  }
  ASSIGN_OR_RETURN(const ModelDefinition* definition,
                   find_definition(model_type, merged, model_type_flag, what));
  merged = flattened(*definition, merged);
  const Json* scaling = find(merged, "rope_scaling");
  const Json stated = scaling ? *scaling : Json();
  ASSIGN_OR_RETURN(std::vector<std::string> notes, lay_over_source_config(*definition, mlc, what, merged));
  ASSIGN_OR_RETURN(merged, with_flat_rope(std::move(merged), has_local_base(*definition), what, notes));
  ASSIGN_OR_RETURN(ModelConfig config, read_fields(*definition, merged, &stated, Context::kNow, what));
  const Json* of_source = find(mlc, "source_config");
  if (definition->keeps_scaling && !(of_source && find(*of_source, "rope_scaling")) &&
      find(config.source_fields, "rope_scaling")) {
    config.source_fields["rope_scaling"] = Json();
    notes.push_back(
        str(what, ": no 'source_config' states 'rope_scaling', so positions rotate without it, as ",
            "MLC's do, which differs from transformers; convert the checkpoint again to mend it"));
  }
  config.notes.insert(config.notes.begin(), notes.begin(), notes.end());
  keep_stated(*definition, nested ? *nested : mlc, config);
  RETURN_IF_ERROR(resolve_window(config, merged, what));
  if (nested)
    RETURN_IF_ERROR(check_keys(config, flattened(*definition, *nested),
                               {"sliding_window_size", "attention_sink_size"}, what));
  return config;
}

Status apply_overrides(ModelConfig& config, const ConfigOverrides& overrides) {
  const ModelDefinition& definition = model_definition(config.model_type);
  for (const Override& o : list_overrides(overrides)) {
    if (!o.value) continue;
    const ConfigField* field = find_field(definition, o.field);
    if (!field) {
      note_ignored(config, o.flag, o.field);
      continue;
    }
    if (std::string expected = mismatch(*field, *o.value); !expected.empty())
      return Status::error(
          str(o.flag, " is ", *o.value, ", expected ", expected, "; choose a value in that range"));
    config.fields[o.field] = *o.value;
  }
  if (overrides.context_window_size && !overrides.prefill_chunk_size && config.has("prefill_chunk_size") &&
      config.get_int("prefill_chunk_size") > *overrides.context_window_size)
    config.fields["prefill_chunk_size"] = 0;
  if (overrides.disaggregation) {
    if (find_field(definition, "disaggregation"))
      config.fields["disaggregation"] = *overrides.disaggregation;
    else
      note_ignored(config, "--disaggregation", "disaggregation");
  }
  RETURN_IF_ERROR(resolve(config, Context::kNow, config.source));
  if (overrides.context_window_size && config.has("context_window_size") &&
      config.get_int("context_window_size") < 0)
    config.notes.push_back(str("--context-window-size: models of type ", config.model_type,
                               " with a sliding_window_size have no context_window_size; ignored"));
  return Status::ok();
}

}  // namespace mlc::frontend
