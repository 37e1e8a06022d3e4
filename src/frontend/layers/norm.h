// Normalisations over the last axis, with weights of its length.
#pragma once

#include <string>

#include "frontend/layers/parameters.h"
#include "graph/builder.h"

namespace mlc::frontend {

struct NormOptions {
  std::string source = "";  // the checkpoint module, where it is not called as the parameters
  bool plus_one = false;    // the checkpoint has the weights less 1, as gemma's
  bool force_f32 = false;   // stored float32 under every scheme
};

// x / sqrt(mean(x^2) + eps) * weight (arXiv:1910.07467)
class RmsNorm {
 public:
  RmsNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps,
          const NormOptions& options = {});
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  graph::Value* weight_;
  double eps_;
};

// (x - mean(x)) / sqrt(var(x) + eps) * weight + bias (arXiv:1607.06450)
class LayerNorm {
 public:
  LayerNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps,
            const NormOptions& options = {});
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  graph::Value* weight_;
  graph::Value* bias_;
  double eps_;
};

}  // namespace mlc::frontend
