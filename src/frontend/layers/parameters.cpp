// Declares parameters in the module and remembers how each is made from the checkpoint.
#include "frontend/layers/parameters.h"

#include "base/check.h"

namespace mlc::frontend {

WeightFormat format_of(const Parameter& parameter, const QuantScheme& scheme) {
  if (parameter.force_f32) return WeightFormat::plain(DType::kF32);
  return scheme.format_of(parameter.role, parameter.quantizable);
}

graph::Value* ParameterList::declare(Parameter parameter) {
  internal_check(module_.find_parameter(parameter.name) == nullptr,
                 "parameter " + parameter.name + " declared twice");
  WeightFormat format = format_of(parameter, scheme_);
  auto value = std::make_unique<graph::Value>();
  value->kind = graph::Value::Kind::kParameter;
  value->name = parameter.name;
  value->type.kind =
      format.is_quantized() ? graph::TensorType::Kind::kGroup : graph::TensorType::Kind::kPlain;
  value->type.format = format;
  for (int64_t n : parameter.shape) value->type.shape.emplace_back(n);
  parameters_.push_back(std::move(parameter));
  return module_.parameters.emplace_back(std::move(value)).get();
}

ParameterList::LoraStacks ParameterList::declare_adapters(AdapterTarget target) {
  if (adapters_ == 0) return {};
  int64_t out = 0;
  for (const AdapterTarget::Part& part : target.parts) out += part.columns;
  const int64_t inner = rank_ * static_cast<int64_t>(target.parts.size());
  auto stack = [&](const char* ending, int64_t rows, int64_t columns) {
    auto value = std::make_unique<graph::Value>();
    value->kind = graph::Value::Kind::kParameter;
    value->name = target.name + ending;
    value->type = graph::TensorType::plain(DType::kF32, {adapters_, rows, columns});
    return module_.parameters.emplace_back(std::move(value)).get();
  };
  LoraStacks stacks{stack(graph::kLoraA, target.in, inner), stack(graph::kLoraB, rank_, out)};
  targets_.push_back(std::move(target));
  return stacks;
}

}  // namespace mlc::frontend
