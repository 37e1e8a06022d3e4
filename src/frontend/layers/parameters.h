// ParameterList: where layers declare the weights they read; gives each its storage type under the chosen
// scheme.
#pragma once

#include <string>
#include <vector>

#include "formats/quant/scheme.h"
#include "frontend/model.h"
#include "graph/ir.h"

namespace mlc::frontend {

class ParameterList {
 public:
  // Both outlive the list. Declared parameters are appended to `module.parameters`. `adapters`, of `rank` at
  // most, may change each linear (BuildOptions).
  ParameterList(graph::Module& module, const QuantScheme& scheme, int64_t adapters = 0, int64_t rank = 0)
      : module_(module), scheme_(scheme), adapters_(adapters), rank_(rank) {}

  // The graph value of `parameter`, whose name must be new. Its type is the format of its role under the
  // scheme, with the real matrix's shape, in the layout of the file.
  graph::Value* declare(Parameter parameter);

  // The stacks of adapters' matrices for a linear; nullptrs where models have no adapters.
  struct LoraStacks {
    graph::Value *a = nullptr, *b = nullptr;
  };
  LoraStacks declare_adapters(AdapterTarget target);
  const std::vector<AdapterTarget>& adapter_targets() const { return targets_; }

  const QuantScheme& scheme() const { return scheme_; }

  std::vector<Parameter> take() { return std::move(parameters_); }

 private:
  graph::Module& module_;
  const QuantScheme& scheme_;
  int64_t adapters_, rank_;
  std::vector<Parameter> parameters_;
  std::vector<AdapterTarget> targets_;
};

// The format in which `parameter` is stored under `scheme`.
WeightFormat format_of(const Parameter& parameter, const QuantScheme& scheme);

}  // namespace mlc::frontend
