// Appends the ops of feed-forward blocks.
#include "frontend/layers/mlp.h"

namespace mlc::frontend {

GatedMlp::GatedMlp(std::string activation, Linear gate_up, Linear down)
    : activation_(std::move(activation)), gate_up_(std::move(gate_up)), down_(std::move(down)) {}

graph::Value* GatedMlp::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return down_(g, g.gated(gate_up_(g, x), activation_));
}

PlainMlp::PlainMlp(std::string activation, Linear up, Linear down)
    : activation_(std::move(activation)), up_(std::move(up)), down_(std::move(down)) {}

graph::Value* PlainMlp::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return down_(g, g.activation(up_(g, x), activation_));
}

}  // namespace mlc::frontend
