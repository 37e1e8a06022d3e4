// Runs a model's functions on streams, linear by linear: what calibration and --verify have in common.
#pragma once

#include <functional>
#include <span>

#include "base/status.h"
#include "frontend/model.h"
#include "weights/model_weights.h"
#include "weights/quantize/stream.h"

namespace mlc::weights {

// The graph that streams run: floats, without a rolling window (windows of text are to be shorter), epilogues
// in their linears. `config` loses its rolling window, too.
Result<frontend::BuiltModel> build_streamed(frontend::ModelConfig& config);

// What is done with each linear: the streams' inputs are there, their outputs are to be set. `last`: it is
// the one that gives logits. False ends the run; the streams keep what they have.
using LinearStep = std::function<Result<bool>(const graph::Node& node, bool last)>;

// embed, the transformer and, where there is one, the function that gives logits, on each of the streams.
Status run_model(const graph::Module& module, std::span<Stream* const> streams, const LinearStep& linear);

// Of the weights of all linears that run_model() steps over.
int64_t linear_elements(const graph::Module& module);

// The linear itself, with these weights.
void run_linear(Stream& stream, const graph::Node& node, const ModelWeights& weights);

// Parameters of a stream: all but linears, as they are.
StreamParameters stream_parameters(const ModelWeights& weights);

}  // namespace mlc::weights
