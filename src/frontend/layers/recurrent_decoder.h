// The whole decoder of RWKV's form (arXiv:2305.13048): blocks of x + time_mixing(norm(x)), then x +
// channel_mixing(norm(x)), with LayerNorm, one more norm before the first block; a final norm, a head.
//
// A sequence is a slot of the state "rwkv": for each layer the last row that each of the two mixings saw, and
// what the recurrence of time mixing keeps.
// Config fields read: those of the definition's shape, intermediate_size, layer_norm_epsilon, rescale_every.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "frontend/functions.h"
#include "frontend/layers/linear.h"

namespace mlc::frontend {

inline constexpr char kRecurrentState[] = "rwkv";

// Of a row and the row before it in its text, what a projection sees: x * mix + before * (1 - mix).
class TokenMix {
 public:
  // The parameter `name` of `size` elements, [1, 1, size] in the checkpoint.
  TokenMix(ParameterList& parameters, const std::string& name, const std::string& source, int64_t size);
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x, graph::Value* before) const;

 private:
  graph::Value* mix_;
};

// The row before each row of x in its text, of which the slots' part `part` keeps the last.
graph::Value* token_shift(graph::GraphBuilder& g, graph::Value* x, int64_t layer, const std::string& part,
                          const StepInputs& inputs);

// Where a layer's modules are: in MLC's names and in the checkpoint's, up to and with the last point.
struct ModulePath {
  std::string name, source;
};

using TimeMixing = std::function<graph::Value*(graph::GraphBuilder& g, graph::Value* x, const StepInputs&)>;

// What differs between the families of this form.
struct RecurrentDecoderOptions {
  std::string prefix;  // MLC's name of what the checkpoint calls "rwkv."
  // Time mixing of a layer.
  TimeMixing (*time_mixing)(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                            const ModulePath& path);
  std::vector<graph::SlotPart> recurrence;  // of a slot
};

// After every rescale_every layers activations are halved, so that halves of 16 bits can hold them: what
// layer i adds is divided by 2^(i / rescale_every), in its weights.
double residual_scale(const ModelConfig& config, int64_t layer);

std::unique_ptr<Model> make_recurrent_decoder(ParameterList& parameters, const ModelConfig& config,
                                              const RecurrentDecoderOptions& options);

// Says that the family has no rotation.
RopeSpec no_rope(const ModelConfig& config);

}  // namespace mlc::frontend
