// The feed-forward blocks: gated (two projections fused into one) and plain.
#pragma once

#include <functional>
#include <string>

#include "frontend/layers/linear.h"

namespace mlc::frontend {

// What stands behind a block's second norm: f32[rows, hidden] -> f32[rows, hidden].
using FeedForward = std::function<graph::Value*(graph::GraphBuilder&, graph::Value*)>;

// down(f(gate(x)) * up(x)); gate and up are one weight [2 * inner, hidden], gate first (arXiv:2002.05202)
class GatedMlp {
 public:
  GatedMlp(std::string activation, Linear gate_up, Linear down);
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  std::string activation_;
  Linear gate_up_, down_;
};

// down(f(up(x)))
class PlainMlp {
 public:
  PlainMlp(std::string activation, Linear up, Linear down);
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  std::string activation_;
  Linear up_, down_;
};

}  // namespace mlc::frontend
