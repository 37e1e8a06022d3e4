// Declares the weights of normalisations and appends their ops.
#include "frontend/layers/norm.h"

namespace mlc::frontend {
namespace {

graph::Value* declare_vector(ParameterList& parameters, const std::string& name, const std::string& which,
                             int64_t size, const NormOptions& options) {
  Parameter vector{.name = name + which, .shape = {size}, .force_f32 = options.force_f32};
  vector.source = SourceExpr::of((options.source.empty() ? name : options.source) + which);
  if (options.plus_one && which == ".weight") vector.source = SourceExpr::plus_one(std::move(vector.source));
  return parameters.declare(std::move(vector));
}

}  // namespace

RmsNorm::RmsNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps,
                 const NormOptions& options)
    : weight_(declare_vector(parameters, name, ".weight", size, options)), eps_(eps) {}

graph::Value* RmsNorm::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return g.rms_norm(x, weight_, eps_);
}

LayerNorm::LayerNorm(ParameterList& parameters, const std::string& name, int64_t size, double eps,
                     const NormOptions& options)
    : weight_(declare_vector(parameters, name, ".weight", size, options)),
      bias_(declare_vector(parameters, name, ".bias", size, options)),
      eps_(eps) {}

graph::Value* LayerNorm::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  return g.layer_norm(x, weight_, bias_, eps_);
}

}  // namespace mlc::frontend
