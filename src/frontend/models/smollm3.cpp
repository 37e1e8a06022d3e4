// SmolLM3: the llama decoder in which some layers do not rotate queries and keys (NoPE, arXiv:2501.18795);
// tied embeddings and biases by config. MLC has no class for it: the fields are llama's.
//
// Reference: huggingface.co/docs/transformers/model_doc/smollm3
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

// Which layers rotate: as listed, by 1 and 0, or all but each `no_rope_layer_interval`-th.
std::vector<bool> rotated_layers(const ModelConfig& config) {
  std::vector<bool> rotated;
  const Json& listed = config.get("no_rope_layers");
  const int64_t interval = config.get_int("no_rope_layer_interval");
  for (int64_t layer = 0; layer < model_shape(config).layers; ++layer)
    rotated.push_back(listed.empty() ? (layer + 1) % interval != 0 : listed[static_cast<size_t>(layer)] == 1);
  return rotated;
}

}  // namespace

const ModelDefinition& smollm3() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "smollm3",
      .architecture = "SmolLM3ForCausalLM",
      .fields = {field::size("hidden_size"), field::size("intermediate_size"),
                 field::heads("num_attention_heads"), field::layers("num_hidden_layers"),
                 field::norm_eps("rms_norm_eps"), field::vocab_size(),
                 field::flag("tie_word_embeddings", true), field::rope_base(), field::rope_scaling(),
                 field::context_window_size(), field::prefill_chunk_size(),
                 field::heads("num_key_value_heads", /*inferred=*/true), field::head_dim(),
                 field::count("tensor_parallel_shards"), field::count("pipeline_parallel_stages"),
                 field::count("max_batch_size")},
      .source_fields = {field::flag("attention_bias", false),
                        field::flag("mlp_bias", false),
                        {"no_rope_layers", Kind::kList, 0, 0, "[]"},
                        {"no_rope_layer_interval", Kind::kInteger, 1, 4096, "4"}},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}},
               {{"no_rope_layers"}, {0, 1}},
               // mean something only with use_sliding_window
               {{"sliding_window", "max_window_layers"}, {}, KnownKey::Otherwise::kAccept}},
      .rope = rope_of_heads,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        const bool attention_bias = config.get_bool("attention_bias");
        return make_gated_decoder(parameters, config,
                                  {.qkv_bias = attention_bias,
                                   .output_bias = attention_bias,
                                   .mlp_bias = config.get_bool("mlp_bias"),
                                   .rotated = rotated_layers(config)});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
  };
  return definition;
}

}  // namespace mlc::frontend
