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

}  // namespace mlc::frontend
