// The whole decoder of llama's form: blocks of x + attention(norm(x)), then x + gated MLP(norm(x)), with
// RMSNorm, rotary embedding, grouped-query attention and SwiGLU; a final norm; a head of its own, or the
// embedding when tied.
//
// Config fields read: hidden_size, intermediate_size, num_attention_heads, num_key_value_heads, head_dim,
// num_hidden_layers, rms_norm_eps, vocab_size, tie_word_embeddings. Parameters: mlc-facts 5.4.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "frontend/functions.h"
#include "frontend/layers/attention.h"
#include "frontend/layers/mlp.h"

namespace mlc::frontend {

// x f32[rows, hidden] -> f32[rows, hidden]
using AttentionLayer = std::function<graph::Value*(graph::GraphBuilder&, graph::Value* x, const StepInputs&)>;

// What differs between the families of this form.
struct GatedDecoderOptions {
  // MLC's names of the modules. The checkpoint's are llama's: model.layers.I.self_attn.q_proj and so on, with
  // `source` for "model".
  std::string embedding = "model.embed_tokens", layers = "model.layers", norm = "model.norm";
  std::string attention = "self_attn", qkv = "qkv_proj", output = "o_proj", input_norm = "input_layernorm";
  std::string source = "model";
  bool split_qkv = false;      // MLC too has q_proj, k_proj and v_proj by themselves
  bool fused_sources = false;  // the checkpoint has qkv_proj and gate_up_proj, fused as here
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool sinks = false;              // self_attn.sinks: one more score of each head
  bool head_norms = false;         // self_attn.q_norm and k_norm
  int64_t window = 0;              // of every layer; 0 = none
  std::vector<bool> rotated = {};  // by layer: whether it rotates queries and keys; empty = all do
  // Make what stands instead of the attention, and of the gated MLP, in the block of this name
  // ("model.layers.3"); an empty feed-forward leaves the gated MLP there.
  AttentionLayer (*attention_layer)(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                                    const std::string& block) = nullptr;
  FeedForward (*feed_forward)(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                              const std::string& block) = nullptr;
  std::string activation = "silu";  // of the gate
  bool norms_plus_one = false;      // the checkpoint has the norms' weights less 1
  bool tied = false;                // embeddings are the output layer, where no field says it
  bool headless = false;            // there is none: logits are not asked for
  double embedding_scale = 1, logits_scale = 1;
  double attention_scale = 0;  // of scores; 0 = head_dim^-0.5
  double residual_scale = 1;   // of what attention and feed-forward add
  // x + norm(attention(norm(x))), then x + norm(MLP(norm(x))): the norms after are called
  // post_attention_layernorm and post_feedforward_layernorm, the one before the MLP
  // pre_feedforward_layernorm.
  bool sandwich_norms = false;
  double logit_cap = 0;  // c: logits are c * tanh(logit / c); 0 = none
  // Where attention differs by layer: changes what the options above make of a layer's.
  std::function<void(AttentionShape& shape, int64_t layer)> adjust = {};
};

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderOptions& options);

}  // namespace mlc::frontend
