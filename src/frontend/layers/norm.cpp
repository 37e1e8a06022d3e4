// Declares the weights of normalisations and appends their ops.
#include "frontend/layers/norm.h"

namespace mlc::frontend {
namespace {

graph::Value* declare_vector(ParameterList& parameters, const std::string& name, int64_t size) {
  return parameters.declare({.name = name, .shape = {size}, .sources = {name}});
}

}  // namespace

RmsNorm::RmsNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps)
    : weight_(declare_vector(parameters, name + ".weight", size)), eps_(eps) {}

graph::Value* RmsNorm::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return g.rms_norm(x, weight_, eps_);
}

LayerNorm::LayerNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps)
    : weight_(declare_vector(parameters, name + ".weight", size)),
      bias_(declare_vector(parameters, name + ".bias", size)),
      eps_(eps) {}

graph::Value* LayerNorm::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return g.layer_norm(x, weight_, bias_, eps_);
}

}  // namespace mlc::frontend
