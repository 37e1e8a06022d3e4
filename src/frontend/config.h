// ModelConfig: what a checkpoint's config.json says, in MLC's terms (mlc-facts 4.3, 5.3).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "formats/packing.h"

namespace mlc::frontend {

struct ModelConfig {
  std::string model_type;  // "llama", "gpt_neox": a name of models/
  std::string source;      // the file, for messages
  // The `model_config` object of mlc-chat-config.json: all fields of the family's config class, in its order,
  // resolved; those of a class inside it in an object of their own (ModelDefinition::text_fields).
  Json fields;
  // What transformers applies and that class cannot say, by Hugging Face's keys: the definition's
  // `source_fields`, resolved, and "rope_scaling" of the kinds that MLC drops.
  Json source_fields;
  // Tokens of the sliding window and, of them, sinks that are never dropped (frontend/functions.h); 0 = no
  // window.
  int64_t sliding_window_size = 0, attention_sink_size = 0;
  // Of a checkpoint whose weights are quantized already: by whom and how.
  std::optional<Packing> packing;
  // What was changed or ignored on the way, one sentence each, for the user to read.
  std::vector<std::string> notes;

  bool has(const std::string& key) const;  // a field of the config class, or of the one inside it
  // Of `fields`, those inside or `source_fields`; internal error when absent: parse_config filled all.
  int64_t get_int(const std::string& key) const;
  double get_double(const std::string& key) const;
  bool get_bool(const std::string& key) const;
  const Json& get(const std::string& key) const;
};

// The sizes that the rest of the program asks for, of any model.
struct ModelShape {
  int64_t vocab = 0, hidden = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;  // of attention; 0: the model has none
};
ModelShape model_shape(const ModelConfig& config);

// Values that flags set over the inferred ones (gen_config, compile --overrides); absent = inferred.
struct ConfigOverrides {
  std::optional<int64_t> context_window_size, sliding_window_size, prefill_chunk_size, attention_sink_size,
      tensor_parallel_shards, pipeline_parallel_stages, max_batch_size;
  std::optional<bool> disaggregation;
};

// From a Hugging Face config.json. `model_type_flag` is --model-type ("auto" = by the file, or by its
// `architectures`). `what` names the file. Null counts as absent. The context length may be missing:
// apply_overrides asks for it. Keys that are present and not applied are refused or noted (config_keys.h,
// config_rope.h). Errors: unknown model_type, missing or absurd numbers (zero, negative, > 2^31, heads not
// dividing, ...), and what the model's file cannot compute (another activation, biases it lacks, packed
// weights).
Result<ModelConfig> parse_hf_config(const Json& hf, const std::string& model_type_flag,
                                    const std::string& what);

// From mlc-chat-config.json: the nested `model_config` with the top-level keys laid over it (mlc-facts 1.3),
// and over these those of `source_config`. Files of MLC lack it: then what it would state is as MLC computes,
// with a note where every checkpoint of the family states it. A sliding_window_size above 0 (-1 = none) turns
// the window on for models of every type, also where MLC warns and ignores it; attention_sink_size absent or
// -1 = 4, or less in a smaller window. A prefill chunk longer than the window is cut.
Result<ModelConfig> parse_mlc_config(const Json& mlc, const std::string& model_type_flag,
                                     const std::string& what);

// The object `source_config` of mlc-chat-config.json: of `source_fields` what is not as MLC computes anyway.
Json source_config(const ModelConfig& config);

// Sets the given fields and infers the others again: a prefill chunk longer than the new context is reset. A
// value whose field the model type lacks is ignored with a note, as MLC does. Errors name the flag
// ("--context-window-size"), or the file where no context length is known.
Status apply_overrides(ModelConfig& config, const ConfigOverrides& overrides);

// The model types we can build, sorted.
std::vector<std::string> model_types();

}  // namespace mlc::frontend
