// Mistral 7B and what shares its shape: the llama decoder with a window in every layer.
//
// Paper: arXiv:2310.06825. Reference: huggingface.co/docs/transformers/model_doc/mistral
#include <algorithm>

#include "frontend/config_rules.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

// As MLC's class: no context where there is a window, whose sinks make texts endless.
void infer(ModelConfig& config) {
  int64_t window = config.get_int("sliding_window_size");
  if (window == 0) config.fields["sliding_window_size"] = window = -1;
  if (window == -1) return;
  config.fields["context_window_size"] = -1;
  if (config.get_int("prefill_chunk_size") == 0)
    config.fields["prefill_chunk_size"] = std::min(window, kDefaultPrefillChunk);
}

}  // namespace

const ModelDefinition& mistral() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "mistral",
      .architecture = "MistralForCausalLM",
      .fields = {field::size("hidden_size"),
                 field::size("intermediate_size"),
                 field::heads("num_attention_heads"),
                 field::layers("num_hidden_layers"),
                 field::norm_eps("rms_norm_eps"),
                 field::vocab_size(),
                 field::rope_base(),
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 field::head_dim(),
                 field::context_window_size({"max_position_embeddings"}, -1),
                 {"sliding_window_size", Kind::kInteger, -1, 1 << 30, "0", {"sliding_window"}},
                 field::prefill_chunk_size(),
                 {"attention_sink_size", Kind::kInteger, 0, 1 << 30, "4"},
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size")},
      .source_fields = {field::layer_window(),
                        {"max_position_embeddings", Kind::kInteger, 1, 2147483647, "0"}},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}}, {{"tie_word_embeddings"}, {false}}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config, {.window = layer_window(config)});
      },
      .unused_sources = {"rotary_emb.inv_freq"},
      .infer = infer,
  };
  return definition;
}

}  // namespace mlc::frontend
