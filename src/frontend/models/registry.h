// What a model file states about its model_type, and the table of all of them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/functions.h"
#include "frontend/layers/parameters.h"

namespace mlc::frontend {

// One field of `model_config`. The list of a model is its config class in MLC: names, order and defaults are
// what mlc-chat-config.json shows (mlc-facts 5.3).
struct ConfigField {
  enum class Kind : uint8_t { kInteger, kReal, kFlag, kText, kList, kAny };
  std::string name;
  Kind kind;
  double low = 0, high = 0;          // numbers: the range that makes sense, both ends included
  std::string fallback;              // JSON text; "" = must be given; "0" = 0 or absent means inferred
  std::vector<std::string> aliases;  // other names in Hugging Face files, tried in order
  bool always_stated = false;        // of source_fields: by every checkpoint of the family
};

// Keys of Hugging Face's config.json, and the values with which they change nothing that the model file
// computes. An array is compared element by element.
struct KnownKey {
  enum class Otherwise : uint8_t { kRefuse, kNote, kAccept };  // what becomes of other values
  std::vector<std::string> names;
  std::vector<Json> values;
  Otherwise otherwise = Otherwise::kRefuse;
  std::string equal_to = "", at_least = "";  // also: the value of that field of the config, or no less
};

// The fields many config classes share, with the ranges every model keeps to. Sizes are capped so that no
// product of them (3 * heads * head_dim * hidden * 4 bytes <= 2^60) leaves int64.
namespace field {
// The names under which configs state the activation.
inline const std::vector<std::string> kActivation = {"hidden_act", "hidden_activation", "activation_function",
                                                     "activation"};
ConfigField size(std::string name);                          // hidden and inner sizes: 1..2^24, required
ConfigField heads(std::string name, bool inferred = false);  // 1..2^16
ConfigField layers(std::string name);                        // 1..4096, required
ConfigField experts(std::string name);                       // of a layer, or of a token: 1..2^15, required
ConfigField vocab_size();                                    // 1..2^28, required
ConfigField norm_eps(std::string name);                      // 0 < eps <= 1, required
// position_embedding_base; 10000 when no alias is given
ConfigField rope_base(std::vector<std::string> aliases = {"rope_theta", "rotary_emb_base"});
ConfigField rope_scaling();
ConfigField head_dim();  // inferred: hidden_size / num_attention_heads
// Inferred: max_position_embeddings or max_sequence_length, when no alias is given. low -1: there may be
// none.
ConfigField context_window_size(std::vector<std::string> aliases = {"max_position_embeddings",
                                                                    "max_sequence_length"},
                                double low = 1);
ConfigField
endless_context();           // context_window_size, -1 where nothing else is said: texts may be of any length
ConfigField layer_window();  // of source_fields: sliding_window, 0 for none (layer_window in config_rules.h)
ConfigField prefill_chunk_size();     // inferred: min(context, 8192)
ConfigField count(std::string name);  // 1..2^31 - 1, default 1
ConfigField flag(std::string name, bool fallback);
// Those of MLC's class for llama, which others begin with, in its order; then `more`.
std::vector<ConfigField> of_llama(std::vector<ConfigField> more = {});
}  // namespace field

// The fields in which a config class has the sizes of a model. Without a field of key and value heads they
// are as many as heads, without one of head_dim it is hidden / heads; where the fields are 0, they get these
// values. Without a field of heads ("") the model has no attention.
struct ShapeFields {
  std::string vocab = "vocab_size", hidden = "hidden_size", layers = "num_hidden_layers",
              heads = "num_attention_heads", kv_heads = "num_key_value_heads", head_dim = "head_dim";
};

struct ModelDefinition {
  std::string model_type;    // Hugging Face's name, and the name of the file
  std::string architecture;  // Hugging Face's class, which names the type where model_type is missing
  std::vector<ConfigField> fields;
  // Where the class is around another one for the text model, the fields of that: they stand in the object
  // `text_config` of model_config, with what else the checkpoint states (config_nested.h); `fields` around
  // it.
  std::vector<ConfigField> text_fields = {};
  // What the model file computes and MLC's class cannot say; a fallback is what MLC computes.
  std::vector<ConfigField> source_fields;
  // What the model file asks of keys, fields or not. The rules for all models (config_keys.cpp) hold for the
  // others.
  std::vector<KnownKey> keys;
  RopeSpec (*rope)(const ModelConfig& config);
  RopeSpec (*local_rope)(const ModelConfig& config) = nullptr;  // of layers that rotate by another table
  std::unique_ptr<Model> (*create)(ParameterList& parameters, const ModelConfig& config);
  std::vector<std::string> unused_sources;  // suffixes of checkpoint tensors that carry nothing
  ShapeFields shape = {};
  // Gives the cache other heads than model_shape's: latents, keys and values that differ in width.
  void (*shape_cache)(const ModelConfig& config, graph::PagedState& cache) = nullptr;
  // What the config class infers in a way of its own, before the rules for all (config_rules.h).
  void (*infer)(ModelConfig& config) = nullptr;
  bool learned_positions = false;                        // a text cannot be longer than their table
  bool encoder = false, embeds = false;                  // functions.h
  bool draft_head = false;                               // likewise
  std::vector<std::string> field_scalings = {"llama3"};  // kinds of rope_scaling that MLC's field states
  // MLC's field keeps a rope_scaling as the checkpoint states it, and its models rotate without it.
  bool keeps_scaling = false;
};

// Sorted by model_type.
const std::vector<const ModelDefinition*>& model_definitions();
const ModelDefinition& model_definition(const std::string& model_type);  // internal error when unknown

// The rope_scaling that is computed, or null.
const Json& stated_scaling(const ModelConfig& config);

// The spec of rotation of each head's first `rotary_dim` elements, with the base that `theta` names and the
// config's rope_scaling.
RopeSpec make_rope_spec(const ModelConfig& config, int64_t rotary_dim,
                        const std::string& theta = "position_embedding_base");
// Of all of a head.
RopeSpec rope_of_heads(const ModelConfig& config);

}  // namespace mlc::frontend
