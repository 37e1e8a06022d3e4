// The whole decoder of llama's form: blocks of x + attention(norm(x)), then x + gated MLP(norm(x)), with
// RMSNorm, rotary embedding, grouped-query attention and SwiGLU; a final norm; a head of its own, or the
// embedding when tied.
//
// Config fields read: hidden_size, intermediate_size, num_attention_heads, num_key_value_heads, head_dim,
// num_hidden_layers, rms_norm_eps, vocab_size, tie_word_embeddings. Parameters: model.embed_tokens,
// model.layers.I.*, model.norm, lm_head (mlc-facts 5.4).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "frontend/functions.h"
#include "frontend/layers/attention.h"
#include "frontend/layers/parameters.h"

namespace mlc::frontend {

// What differs between the families of this form.
struct GatedDecoderOptions {
  std::string qkv = "qkv_proj";  // name of the fused projection under self_attn
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  std::function<AttentionShape(int64_t)> attention = {};  // of a layer, where it is not attention_shape()
  std::string activation = "silu";
  bool tied = false;            // where the config has no tie_word_embeddings
  bool norms_plus_one = false;  // NormOptions::plus_one
  // x + norm(attention(norm(x))), then x + norm(MLP(norm(x))): the norms after are called
  // post_attention_layernorm and post_feedforward_layernorm, the one before the MLP
  // pre_feedforward_layernorm.
  bool sandwich_norms = false;
  double embedding_scale = 1;
  double logit_cap = 0;  // c: logits are c * tanh(logit / c); 0 = none
};

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderOptions& options);

}  // namespace mlc::frontend
