// The expression of a record follows that of the weight: modules side by side along the outputs.
#include "weights/import.h"

#include "base/strings.h"

namespace mlc::weights {
namespace {

std::string renamed(const std::string& name, const std::string& record) {
  constexpr std::string_view kWeight = "weight";
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) + record : name;
}

// Whether the expression is tensors joined along their outputs.
bool joins_outputs(const SourceExpr& e) {
  if (e.kind == SourceExpr::Kind::kTensor) return true;
  if (e.kind != SourceExpr::Kind::kConcat || e.axis != 0) return false;
  for (const SourceExpr& part : e.parts)
    if (!joins_outputs(part)) return false;
  return true;
}

}  // namespace

Status check_quantization(const ModelSource& source, const QuantScheme& scheme) {
  const std::string& packed = source.config.packed_as;
  const bool imports = scheme.quantized && scheme.linear.is_imported();
  const bool says_nothing =
      find(source.hf_config, "model_config") != nullptr;  // a converted model's own config
  if (imports && packed.empty() && !says_nothing)
    return Status::error(str("--quantization: ", scheme.name, " takes weights that AWQ quantized, ",
                             source.config_path,
                             " has no 'quantization_config' that says so; choose q4f16_1"));
  if (!packed.empty() && packed != scheme.name)
    return Status::error(str("--quantization: ", scheme.name, " packs plain weights, ", source.config_path,
                             " says that they are quantized already (key 'quantization_config'); choose ",
                             packed, ", or convert the checkpoint it was made from"));
  return Status::ok();
}

Result<std::vector<frontend::Parameter>> split_records(const frontend::Parameter& parameter,
                                                       const WeightFormat& format) {
  if (!joins_outputs(parameter.source) || parameter.shape.size() != 2)
    return Status::error(
        str("--quantization: ", parameter.name,
            " of this model is made of parts of checkpoint tensors, expected whole ones, as weights "
            "that are quantized already can only be copied; choose another quantization and the "
            "checkpoint with plain weights"));
  std::vector<frontend::Parameter> records;
  for (const FormatRecord& record : format_records(format, parameter.shape)) {
    std::vector<SourceExpr> parts;
    for (const std::string& name : source_names(parameter.source))
      parts.push_back(SourceExpr::of(renamed(name, record.name)));
    frontend::Parameter p;
    p.name = renamed(parameter.name, record.name);
    p.shape = record.shape;
    p.source = SourceExpr::concat(std::move(parts), format.transposed ? 1 : 0);
    records.push_back(std::move(p));
  }
  return records;
}

}  // namespace mlc::weights
