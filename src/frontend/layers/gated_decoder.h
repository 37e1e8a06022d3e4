// The whole decoder of llama's form: blocks of x + attention(norm(x)), then x + gated MLP(norm(x)), with
// RMSNorm, rotary embedding, grouped-query attention and SwiGLU; a final norm; a head of its own, or the
// embedding when tied.
//
// Config fields read: hidden_size, intermediate_size, num_attention_heads, num_key_value_heads, head_dim,
// num_hidden_layers, rms_norm_eps, vocab_size, tie_word_embeddings. Parameters: model.embed_tokens,
// model.layers.I.*, model.norm, lm_head (mlc-facts 5.4).
#pragma once

#include <memory>
#include <string>

#include "frontend/functions.h"
#include "frontend/layers/parameters.h"

namespace mlc::frontend {

// What differs between the families of this form.
struct GatedDecoderNames {
  std::string qkv = "qkv_proj";  // of the fused projection under self_attn
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  int64_t window = 0;  // of every layer; 0 = none
};

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderNames& names);

}  // namespace mlc::frontend
