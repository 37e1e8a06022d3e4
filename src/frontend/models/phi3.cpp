// Phi-3, Phi-3.5 and Phi-4: the llama decoder with fused projections in the checkpoint, part of each head
// rotated, and rotations for long texts (longrope) by config.
//
// Papers: Phi-3 arXiv:2404.14219, Phi-4 arXiv:2412.08905, LongRoPE arXiv:2402.13753.
//
// Reference: huggingface.co/docs/transformers/model_doc/phi3
#include "frontend/config_rules.h"
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

// Rounded down: 0.75 of a head of 128 rotates 96 elements.
RopeSpec rope(const ModelConfig& config) {
  const double rotated =
      config.get_double("partial_rotary_factor") * static_cast<double>(config.get_int("head_dim"));
  return make_rope_spec(config, static_cast<int64_t>(rotated));
}

}  // namespace

const ModelDefinition& phi3() {
  using Kind = ConfigField::Kind;
  static const ModelDefinition definition{
      .model_type = "phi3",
      .architecture = "Phi3ForCausalLM",
      .fields = {{"model_type", Kind::kText, 0, 0, "\"phi3\""},
                 field::size("hidden_size"),
                 field::vocab_size(),
                 field::layers("num_hidden_layers"),
                 field::heads("num_attention_heads"),
                 field::size("intermediate_size"),
                 field::norm_eps("rms_norm_eps"),
                 field::heads("num_key_value_heads", /*inferred=*/true),
                 {"max_position_embeddings", Kind::kInteger, 1, 2147483647},
                 field::rope_base(),
                 field::rope_scaling(),
                 {"original_max_position_embeddings", Kind::kInteger, 1, 2147483647, "0"},
                 field::context_window_size(),
                 field::prefill_chunk_size(),
                 field::head_dim(),
                 field::count("tensor_parallel_shards"),
                 field::count("max_batch_size"),
                 field::flag("tie_word_embeddings", false),
                 {"partial_rotary_factor", Kind::kReal, 1e-3, 1, "1.0"}},
      .source_fields = {field::layer_window()},
      .keys = {{field::kActivation, {"silu", "swish", "swiglu"}}},
      .rope = rope,
      .create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
        return make_gated_decoder(parameters, config,
                                  {.embedding = "transformer.embd",
                                   .layers = "transformer.h",
                                   .norm = "transformer.norm",
                                   .attention = "mixer",
                                   .output = "out_proj",
                                   .input_norm = "ln",
                                   .fused_sources = true,
                                   .window = layer_window(config)});
      },
      .unused_sources = {"rotary_emb.inv_freq", "lm_head.weight"},
      .field_scalings = {"longrope"},
  };
  return definition;
}

}  // namespace mlc::frontend
