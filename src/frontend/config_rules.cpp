// Inference and consistency of model configs.
#include "frontend/config_rules.h"

#include <cmath>

#include "base/strings.h"
#include "frontend/config_keys.h"
#include "frontend/config_rope.h"

namespace mlc::frontend {
namespace {

constexpr int64_t kDefaultSinks = 4;  // MLC's default for mistral; enough by arXiv:2309.17453, table 2
constexpr int64_t kMaxWindow = int64_t{1} << 30;  // window + step stay below 2^31: positions are int32

// An integer of the file, -1 (none) where it is absent.
Result<int64_t> optional_size(const Json& source, const std::string& key, const std::string& what) {
  const Json* value = find(source, key);
  if (!value) return int64_t{-1};
  if (value->is_number_integer()) return value->get<int64_t>();
  return Status::error(
      str(what, ": key '", key, "' is ", shown_value(*value), ", expected an integer, -1 for none"));
}

// Shortest decimal for ranges: "16777216", "1e-30".
std::string number(double value) {
  return value == std::floor(value) && std::fabs(value) < 1e15 ? str(static_cast<int64_t>(value))
                                                               : str(value);
}

Status infer_context(ModelConfig& config, Context needed, const std::string& what) {
  if (!config.has("context_window_size")) return Status::ok();
  const int64_t context = config.get_int("context_window_size");
  if (context < 0 || (context == 0 && needed == Context::kLater)) return Status::ok();
  if (context == 0)
    return Status::error(str(what,
                             ": no context length found, expected key 'max_position_embeddings' or "
                             "'max_sequence_length'; add it or give --context-window-size"));
  if (!config.has("prefill_chunk_size")) return Status::ok();
  const int64_t chunk = config.get_int("prefill_chunk_size");
  const int64_t inferred = std::min(context, kDefaultPrefillChunk);
  if (chunk > context)
    config.notes.push_back(str("prefill_chunk_size ", chunk, " is longer than context_window_size ", context,
                               "; using ", inferred));
  if (chunk == 0 || chunk > context) config.fields["prefill_chunk_size"] = inferred;
  return Status::ok();
}

Status infer_heads(ModelConfig& config, const ShapeFields& names, const std::string& what) {
  if (names.heads.empty()) return Status::ok();
  const int64_t heads = config.get_int(names.heads), hidden = config.get_int(names.hidden);
  const bool has_head_dim = config.has(names.head_dim);
  if (!has_head_dim || config.get_int(names.head_dim) == 0) {
    if (hidden % heads != 0)
      return Status::error(str(what, ": ", names.hidden, " ", hidden, " is not a multiple of ", names.heads,
                               " ", heads, ", expected one",
                               has_head_dim ? str(" or a '", names.head_dim, "'") : "",
                               "; the config is damaged"));
    if (has_head_dim) config.fields[names.head_dim] = hidden / heads;
  }
  if (!config.has(names.kv_heads)) return Status::ok();
  if (config.get_int(names.kv_heads) == 0) config.fields[names.kv_heads] = heads;
  const int64_t kv_heads = config.get_int(names.kv_heads);
  if (heads % kv_heads == 0) return Status::ok();
  return Status::error(str(what, ": ", names.heads, " ", heads, " is not a multiple of ", names.kv_heads, " ",
                           kv_heads, ", expected heads in equal groups; the config is damaged"));
}

Status check_parallel(const ModelConfig& config, const ShapeFields& names, const std::string& what) {
  const ModelShape shape = model_shape(config);
  const int64_t parts = names.heads.empty() ? shape.hidden : shape.heads;
  if (const int64_t shards = config.get_int("tensor_parallel_shards"); parts % shards != 0)
    return Status::error(str(what, ": tensor_parallel_shards ", shards, " does not divide ",
                             names.heads.empty() ? names.hidden : names.heads, " ", parts,
                             "; choose a divisor"));
  if (!config.has("pipeline_parallel_stages")) return Status::ok();
  if (const int64_t stages = config.get_int("pipeline_parallel_stages"); stages > shape.layers)
    return Status::error(str(what, ": pipeline_parallel_stages is ", stages, ", expected 1 to the ",
                             shape.layers, " layers of the model; choose fewer"));
  return Status::ok();
}

}  // namespace

bool zero_means_inferred(const ConfigField& field) { return field.fallback == "0"; }

std::string mismatch(const ConfigField& field, const Json& value) {
  const std::string range = str(" from ", number(field.low), " to ", number(field.high));
  auto in_range = [&](double v) { return v >= field.low && v <= field.high; };
  switch (field.kind) {
    case ConfigField::Kind::kInteger:
      return value.is_number_integer() && in_range(value.get<double>()) ? "" : "an integer" + range;
    case ConfigField::Kind::kReal:
      return value.is_number() && in_range(value.get<double>()) ? "" : "a number" + range;
    case ConfigField::Kind::kFlag: return value.is_boolean() ? "" : "true or false";
    case ConfigField::Kind::kText: return value.is_string() ? "" : "a text";
    case ConfigField::Kind::kList: return value.is_array() ? "" : "a list";
    case ConfigField::Kind::kAny: return "";
  }
  return "";
}

Status resolve(ModelConfig& config, Context needed, const std::string& what) {
  if (auto infer = model_definition(config.model_type).infer) infer(config);
  RETURN_IF_ERROR(infer_context(config, needed, what));
  const ShapeFields& names = model_definition(config.model_type).shape;
  RETURN_IF_ERROR(infer_heads(config, names, what));
  RETURN_IF_ERROR(check_parallel(config, names, what));
  const RopeSpec rope = rope_spec(config);
  const int64_t head_dim = model_shape(config).head_dim;
  if (rope.kind == "none" ||
      (rope.rotary_dim >= 2 && rope.rotary_dim % 2 == 0 && rope.rotary_dim <= head_dim))
    return check_scaling(rope, what);
  return Status::error(
      str(what, ": ", rope.rotary_dim, " elements of each head of ", head_dim,
          " would be rotated, expected an even number from 2 to head_dim; the config is damaged"));
}

void infer_short_chunk(ModelConfig& config) {
  constexpr int64_t kShortChunk = 2048;  // mlc-facts 4.3
  const int64_t context = config.get_int("context_window_size");
  if (config.get_int("prefill_chunk_size") == 0 && context > 0)
    config.fields["prefill_chunk_size"] = std::min(context, kShortChunk);
}

Status check_layer_lists(const ModelConfig& config, const Json& source, const std::string& what) {
  const int64_t layers = config.get_int(model_definition(config.model_type).shape.layers);
  for (const char* key :
       {"layer_types", "no_rope_layers", "sliding_window_pattern", "mlp_layer_types", "layers_block_type"}) {
    const Json* list = find(source, key);
    if (!list || !list->is_array() || list->empty() || static_cast<int64_t>(list->size()) == layers) continue;
    return Status::error(str(what, ": key '", key, "' lists ", list->size(), " layers, expected the ", layers,
                             " of the model; the config is damaged"));
  }
  return Status::ok();
}

int64_t layer_window(const ModelConfig& config) {
  const int64_t window = find_int(config.source_fields, "sliding_window").value_or(0);
  const bool another = config.sliding_window_size > 0 ||
                       (config.has("sliding_window_size") && config.get_int("sliding_window_size") != window);
  const bool never_reached = config.has("context_window_size") && config.get_int("context_window_size") > 0 &&
                             window >= config.get_int("context_window_size");
  return another || never_reached ? 0 : window;
}

Status resolve_window(ModelConfig& config, const Json& source, const std::string& what) {
  ASSIGN_OR_RETURN(int64_t window, optional_size(source, "sliding_window_size", what));
  ASSIGN_OR_RETURN(int64_t sinks, optional_size(source, "attention_sink_size", what));
  // That of the source limits what layers see.
  if (window == -1 || (window > 0 && window == find_int(config.source_fields, "sliding_window").value_or(0)))
    return Status::ok();
  const ModelDefinition& definition = model_definition(config.model_type);
  if (definition.shape.heads.empty())
    return Status::error(str(what, ": sliding_window_size is ", window, ", but models of type ",
                             config.model_type,
                             " have no attention that a window could limit; leave it out"));
  if (definition.learned_positions)
    return Status::error(str(what, ": sliding_window_size is ", window, ", but models of type ",
                             config.model_type,
                             " have learned positions, of which there are only as many as the context has; "
                             "leave it out"));
  if (definition.shape_cache)
    return Status::error(str(what, ": sliding_window_size is ", window, ", but models of type ",
                             config.model_type,
                             " cache latents, which cannot be rotated anew when tokens before them are "
                             "dropped; leave it out"));
  if (window < 1 || window > kMaxWindow)
    return Status::error(
        str(what, ": sliding_window_size is ", window, ", expected 1 to ", kMaxWindow, ", or -1 for none"));
  if (sinks < -1 || sinks >= window)
    return Status::error(str(what, ": attention_sink_size is ", sinks, ", expected 0 to ", window - 1,
                             ", less than the sliding_window_size ", window));
  config.sliding_window_size = window;
  config.attention_sink_size = sinks == -1 ? std::min(kDefaultSinks, window - 1) : sinks;
  if (config.has("sliding_window_size") && !find_int(config.source_fields, "sliding_window").value_or(0))
    config.notes.push_back(str(what, ": no 'source_config' states 'sliding_window', so tokens beyond the ",
                               config.attention_sink_size, " sinks leave the cache as they leave the ",
                               "sliding_window_size ", window,
                               ", as with MLC, where transformers limits what ",
                               "each layer sees; convert the checkpoint again to mend it"));
  if (const std::string kind = rope_spec(config).kind; kind == "dynamic" || kind == "longrope")
    config.notes.push_back(str(what, ": with a sliding_window_size, rope_scaling ", kind,
                               " rotates as in a text as long as the window and a step together"));
  if (config.get_int("prefill_chunk_size") <= window) return Status::ok();
  config.notes.push_back(str("prefill_chunk_size ", config.get_int("prefill_chunk_size"),
                             " is longer than sliding_window_size ", window, "; using ", window));
  config.fields["prefill_chunk_size"] = window;
  return Status::ok();
}

}  // namespace mlc::frontend
