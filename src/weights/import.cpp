// The expression of a record follows that of the weight: modules side by side along the outputs.
#include "weights/import.h"

#include "base/strings.h"
#include "formats/quant/float8.h"
#include "formats/quant/repack.h"

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

// The first scheme that holds a packed weight without rounding, "" where none does.
std::string scheme_keeping(const PackedWeight& weight) {
  const WeightFormat& f = weight.format;
  const bool zeros = f.zero == WeightFormat::Zero::kCodes && weight.shape.size() == 2;
  const std::vector<QuantScheme>& all = quant_schemes();
  for (const char* name : {"q4f16_1", "q4bf16_1", "q4f32_1", "q4f32_0"})
    for (const QuantScheme& scheme : all)
      if (scheme.name == name && can_repack(weight.reader(), scheme.linear)) return name;
  for (const QuantScheme& scheme : all)
    if (scheme.linear.is_float8() && scheme.linear.group_n > 1 && has_same_blocks(f, scheme.linear))
      return scheme.name;
  for (const QuantScheme& scheme : all)
    if (zeros && scheme.linear.is_imported() && scheme.linear.group == f.group &&
        can_repack_awq(weight.reader(), f.group))
      return scheme.name;
  return "";
}

}  // namespace

Status check_quantization(const ModelSource& source, const QuantScheme& scheme) {
  const std::optional<Packing>& packing = source.config.packing;
  if (!scheme.quantized || !scheme.linear.is_imported()) return Status::ok();
  if (find(source.hf_config, "model_config") != nullptr)
    return Status::ok();  // a converted model's own config
  if (!packing)
    return Status::error(str("--quantization: ", scheme.name, " takes weights that AWQ or GPTQ quantized, ",
                             source.config_path,
                             " has no 'quantization_config' that says so; choose q4f16_1"));
  const std::string kept_by = packing->kept_by();
  if (kept_by == scheme.name) return Status::ok();
  return Status::error(
      str("--quantization: ", scheme.name, " copies codes of 4 bits with zero points in groups of ",
          scheme.linear.group, ", ", source.config_path, " has weights by ", packing->name,
          packing->bits ? str(" of ", packing->bits, " bits in groups of ",
                              packing->group ? std::to_string(packing->group) : "all inputs")
                        : "",
          packing->act_order ? " with act-order" : "", "; choose ", kept_by.empty() ? "q4f16_1" : kept_by));
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

void note_packed(Plan& plan, const Checkpoint& checkpoint) {
  if (checkpoint.packer().empty()) return;
  int kept = 0, rounded = 0, read = 0;
  const PackedWeight* first = nullptr;  // of those that are rounded
  for (const ParameterPlan& p : plan.parameters) {
    if (!is_float(p.dtype)) kept += p.parameter.name.ends_with(".qweight");  // a record of an imported weight
    const PackedWeight* weight = p.leaves.empty() ? nullptr : checkpoint.packed(p.leaves[0].tensor);
    if (!weight) continue;
    if (p.format.is_quantized() && !p.exact && !first) first = weight;
    ++(p.exact ? kept : p.format.is_quantized() ? rounded : read);
  }
  const std::string by = str("weights by ", checkpoint.packer(), ": ");
  if (kept && plan.scheme.linear.is_float8())
    plan.notes.push_back(str(by, kept, " keep their codes; scales are stored as bfloat16"));
  else if (kept)
    plan.notes.push_back(str(by, kept, " keep their codes, nothing is rounded"));
  if (read) plan.notes.push_back(str(by, read, " are stored as the floats that they stand for"));
  if (!rounded) return;
  const std::string better = scheme_keeping(*first);
  plan.notes.push_back(str(
      by, rounded, " are read as floats and quantized again, which rounds twice",
      better.empty() ? "; no quantization here holds their codes" : "; " + better + " keeps their codes"));
}

}  // namespace mlc::weights
