// Qwen3 that gives embeddings: qwen3's decoder alone, without a head; the hidden state of a text's last token
// stands for the text. Checkpoints call themselves qwen3, so that the files of sentence-transformers beside
// them, or --model-type, say which it is.
//
// Paper: Qwen3 Embedding arXiv:2506.05176. Reference: huggingface.co/Qwen/Qwen3-Embedding-0.6B
#include "frontend/layers/gated_decoder.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {

const ModelDefinition& qwen3();  // qwen3.cpp

const ModelDefinition& qwen3_embedding() {
  static const ModelDefinition definition = [] {
    ModelDefinition made = qwen3();
    made.model_type = "qwen3-embedding";
    made.architecture = "Qwen3Model";
    made.create = [](ParameterList& parameters, const ModelConfig& config) -> std::unique_ptr<Model> {
      const bool bias = config.get_bool("attention_bias");
      return make_gated_decoder(
          parameters, config,
          {.qkv = "c_attn", .qkv_bias = bias, .output_bias = bias, .head_norms = true, .headless = true});
    };
    made.embeds = true;
    return made;
  }();
  return definition;
}

}  // namespace mlc::frontend
