// Matches parameters with checkpoint tensors and lays out the shards.
#include "weights/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "formats/checked.h"
#include "weights/block.h"
#include "weights/extra.h"
#include "weights/import.h"
#include "weights/ranks.h"
#include "weights/resolve.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;

int64_t product(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  return count;
}

std::vector<std::string> names_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const SourceTensor& t : checkpoint.tensors()) names.push_back(t.name);
  return names;
}

// Parameters by their first source in the order of `names` (mlc-facts 2.4).
std::vector<size_t> arrival_order(const std::vector<ParameterPlan>& parameters,
                                  const std::vector<std::string>& names) {
  std::multimap<std::string, size_t> users;
  for (size_t p = 0; p < parameters.size(); ++p)
    for (const std::string& source : source_names(parameters[p].source)) users.emplace(source, p);
  std::vector<size_t> order;
  std::vector<bool> placed(parameters.size(), false);
  for (const std::string& name : names)
    for (auto [it, end] = users.equal_range(name); it != end; ++it)
      if (!placed[it->second]) {
        placed[it->second] = true;
        order.push_back(it->second);
      }
  return order;
}

bool is_unused(const std::string& name, const std::vector<std::string>& unused) {
  return std::any_of(unused.begin(), unused.end(),
                     [&](const std::string& suffix) { return name.ends_with(suffix); });
}

constexpr int64_t kBlockElements = 1 << 18;  // of a parameter, or of the source rows they lie in

// What follows from the tensors of the part's expression.
void find_leaves(ParameterPlan& p) {
  number_leaves(p.source);
  p.leaves = source_leaves(p.source);
  for (const SourceLeaf& leaf : p.leaves)
    if (std::ranges::find(p.sources, leaf.tensor) == p.sources.end()) p.sources.push_back(leaf.tensor);
}

// Elements of the part's rows or, where those are longer, of the rows of its tensors.
int64_t widest_row(const ParameterPlan& p) {
  int64_t widest = std::max<int64_t>(1, p.row_size);
  for (const SourceLeaf& leaf : p.leaves)
    if (leaf.shape.size() > 1) widest = std::max(widest, leaf.shape.back());
  return widest;
}

// What the original counts: all elements of a file each time it opens it, but for tensors declared unused; a
// file stays open until another one is needed.
int64_t count_source_elements(const Plan& plan, const Checkpoint& checkpoint,
                              const std::vector<std::string>& unused, const std::set<std::string>& used) {
  std::vector<int64_t> elements(checkpoint.files().size(), 0);
  for (const SourceTensor& t : checkpoint.tensors())
    if (used.contains(t.name) || (t.role == SourceTensor::Role::kStored && !is_unused(t.name, unused)))
      elements[static_cast<size_t>(t.file)] += product(t.shape);
  int64_t total = 0;
  std::set<int> open;
  for (const ParameterPlan& p : plan.parameters) {
    std::set<int> needed;
    for (int index : p.sources) needed.insert(checkpoint.tensors()[static_cast<size_t>(index)].file);
    if (std::includes(open.begin(), open.end(), needed.begin(), needed.end())) continue;
    std::set<int> next;
    for (int file : needed) {
      if (!open.contains(file)) total += elements[static_cast<size_t>(file)];
      next.insert(file);
    }
    open = next;
  }
  return total;
}

// "x.weight" as `what`, of rank 1 "x.q_weight_shard-1".
std::string record_name(const ParameterPlan& p, const std::string& what) {
  std::string name = p.parameter.name;
  if (p.format.is_quantized())
    name = str(name.ends_with("weight") ? name.substr(0, name.size() - 6) : name + ".", what);
  return p.rank < 0 ? name : str(name, "_shard-", p.rank);
}

TensorRecord make_record(std::string name, std::vector<int64_t> shape, DType dtype, bool raw) {
  TensorRecord record;
  if (raw) record.format = RecordFormat::kRaw;
  record.name = std::move(name), record.shape = std::move(shape), record.dtype = dtype;
  record.size = product(record.shape) * size_of(record.stored_dtype());
  return record;
}

// Of each part the codes or plain tensor, then of each part the scales.
void add_records(const std::vector<ParameterPlan>& parts, std::vector<TensorRecord>& records) {
  const size_t count = format_records(parts[0].format, parts[0].shape).size();
  for (size_t i = 0; i < count; ++i)
    for (const ParameterPlan& p : parts) {
      const FormatRecord r = format_records(p.format, p.shape)[i];
      records.push_back(make_record(record_name(p, r.name), r.shape, r.dtype, p.raw_f32));
    }
}

// Bytes a worker holds for one block: values as f32, the bytes read() unpacks, packed words and scales.
int64_t block_bytes(const ParameterPlan& p) {
  return std::min(p.block_rows, p.rows) * widest_row(p) * (4 + 8 + 2);
}

// The mapped source tensors of as many parameters as there are workers, transposed copies, and the blocks.
int64_t estimate_peak(const Plan& plan, const Checkpoint* checkpoint, int threads) {
  constexpr int64_t kProgram = 32 << 20;  // code, indices, JSON
  std::vector<int64_t> sizes;
  int64_t block = 0;
  for (const ParameterPlan& p : plan.parameters) {
    int64_t size = 0;
    for (RecordPlace place : p.places) size += p.format.transposed ? plan.record(place).size : 0;
    for (int index : p.sources) {
      size += checkpoint->mapped_bytes(index);
    }
    sizes.push_back(size);
    block = std::max(block, block_bytes(p));
  }
  std::sort(sizes.rbegin(), sizes.rend());
  int64_t peak = kProgram + threads * block;
  for (size_t i = 0; i < sizes.size() && i < static_cast<size_t>(threads); ++i) peak += sizes[i];
  return peak;
}

ParameterPlan plan_plain(const Parameter& parameter, DType dtype) {
  ParameterPlan p;
  p.parameter = parameter;
  p.dtype = dtype;
  p.format = WeightFormat::plain(dtype);
  p.shape = parameter.shape;
  p.row_size = parameter.shape.size() > 1 ? parameter.shape.back() : 1;
  p.rows = product(parameter.shape) / std::max<int64_t>(1, p.row_size);
  p.source = parameter.source;
  return p;
}

// Rows that share a scale are not those of a rank or of one expert alone.
Status check_shared_scales(const Parameter& parameter, const WeightFormat& format, const QuantScheme& scheme,
                           const PlanOptions& options) {
  if (options.ranks > 0)
    return Status::error(str("MLC_INTERNAL_PRESHARD_NUM: rows of ", scheme.name,
                             " share scales and cannot be split for ranks; unset it"));
  const int64_t rows = parameter.shape[parameter.shape.size() - 2];
  if (format.group_n > 1 && parameter.shape.size() > 2 && rows % format.group_n != 0)
    return Status::error(str("--quantization: ", scheme.name, " has a scale for ", format.group_n,
                             " rows, an expert of ", parameter.name, " has ", rows,
                             "; choose e4m3_e4m3_f16 or q8f16_1"));
  return Status::ok();
}

// What is stored, before it is split for ranks: each parameter, or each record of an imported one.
Result<std::vector<ParameterPlan>> plan_parameters(const std::vector<Parameter>& parameters,
                                                   const QuantScheme& scheme, const PlanOptions& options) {
  std::vector<ParameterPlan> plans;
  for (const Parameter& parameter : parameters) {
    const WeightFormat format = scheme.format_of(parameter.role, parameter.quantizable);
    if (format.is_quantized() && format.is_imported()) {
      if (options.ranks > 0)
        return Status::error(str("MLC_INTERNAL_PRESHARD_NUM: weights of ", scheme.name,
                                 " are copied as they are and cannot be split for ranks; unset it"));
      ASSIGN_OR_RETURN(std::vector<Parameter> records, split_records(parameter, format));
      const std::vector<FormatRecord> described = format_records(format, parameter.shape);
      for (size_t i = 0; i < records.size(); ++i) plans.push_back(plan_plain(records[i], described[i].dtype));
      continue;
    }
    if (format.is_quantized() && format.group_n != 1)
      RETURN_IF_ERROR(check_shared_scales(parameter, format, scheme, options));
    plans.push_back(plan_plain(parameter, parameter.force_f32 ? DType::kF32 : scheme.model_dtype));
    ParameterPlan& p = plans.back();
    if (format.is_quantized()) p.format = format;
    p.raw_f32 = options.raw_f32 && p.dtype == DType::kF32;
  }
  return plans;
}

void place_records(Plan& plan, std::vector<TensorRecord> records) {
  for (const TensorRecord& r : records)
    plan.index.param_bytes += static_cast<double>(product(r.shape) * size_of(r.dtype));
  plan.index.param_count = static_cast<int64_t>(records.size());
  plan.index.shards = lay_out_shards(std::move(records));
  std::map<std::string, RecordPlace> places;
  for (size_t s = 0; s < plan.index.shards.size(); ++s)
    for (size_t t = 0; t < plan.index.shards[s].tensors.size(); ++t)
      places[plan.index.shards[s].tensors[t].name] = {s, t};
  for (ParameterPlan& p : plan.parameters)
    for (const FormatRecord& r : format_records(p.format, p.shape))
      p.places.push_back(places.at(record_name(p, r.name)));
}

}  // namespace

int64_t Plan::output_bytes() const {
  int64_t bytes = 0;
  for (const ShardRecord& shard : index.shards) bytes += shard.size;
  return bytes;
}

Result<Plan> make_plan(const std::vector<Parameter>& parameters, const std::vector<std::string>& unused,
                       const QuantScheme& scheme, const Checkpoint* checkpoint, const std::string& what,
                       const PlanOptions& options) {
  Plan plan;
  plan.scheme = scheme;
  ASSIGN_OR_RETURN(std::vector<ParameterPlan> stored, plan_parameters(parameters, scheme, options));
  std::set<std::string> used;
  for (const ParameterPlan& p : stored)
    for (std::string& name : source_names(p.source)) used.insert(std::move(name));
  std::vector<std::string> names =
      checkpoint ? names_of(*checkpoint) : std::vector<std::string>(used.begin(), used.end());
  if (checkpoint) RETURN_IF_ERROR(check_packed(*checkpoint, used));
  for (ParameterPlan& p : stored)
    if (checkpoint) {
      RETURN_IF_ERROR(resolve_sources(*checkpoint, what, {p.parameter.name, p.shape, p.dtype}, p.source));
      for (std::string& name : source_names(p.source))
        used.insert(std::move(name));  // as the checkpoint has it
    }
  std::vector<TensorRecord> records;
  for (size_t index : arrival_order(stored, names)) {
    ParameterPlan& p = stored[index];
    ASSIGN_OR_RETURN(std::vector<ParameterPlan> parts, split_ranks(std::move(p), options.ranks));
    for (ParameterPlan& part : parts) {
      if (checkpoint) find_leaves(part);
      part.exact = checkpoint && is_exact(part, *checkpoint);
      part.block_rows = std::max<int64_t>(1, kBlockElements / widest_row(part));
      if (const int64_t together = part.format.group_n; together > 1)
        part.block_rows = (part.block_rows + together - 1) / together * together;
    }
    add_records(parts, records);
    std::move(parts.begin(), parts.end(), std::back_inserter(plan.parameters));
  }
  plan.index.param_bytes = 0;
  place_records(plan, std::move(records));
  if (checkpoint) {
    for (const std::string& name : checkpoint->merged_tensors())
      if (!used.contains(name))
        return Status::error(str("--lora-adapter: ", checkpoint->merged_adapter()->folder, " changes ",
                                 shown_name(name), " of ", what, ", which the model does not use"));
    RETURN_IF_ERROR(check_extra(*checkpoint, used, unused, options.ignore_extra, plan.notes));
    note_packed(plan, *checkpoint);
    plan.source_elements = count_source_elements(plan, *checkpoint, unused, used);
  } else {
    for (const ParameterPlan& p : plan.parameters) plan.source_elements += p.rows * p.row_size;
  }
  plan.index.bits_per_param =
      plan.source_elements > 0 ? plan.index.param_bytes * 8 / static_cast<double>(plan.source_elements) : 0;
  plan.peak_memory = estimate_peak(plan, checkpoint, options.threads);
  return plan;
}

std::string plan_text(const Plan& plan) {
  std::string text;
  for (const ShardRecord& shard : plan.index.shards) {
    text += str(shard.file, "  ", shard.size, " bytes\n");
    for (const TensorRecord& t : shard.tensors)
      text += str("  ", t.name, "  ", shown_shape(t.shape), "  ", long_name(t.dtype), "  at ", t.offset, "  ",
                  t.size, " bytes\n");
  }
  text += str(plan.index.param_count, " tensors in ", plan.index.shards.size(), " shards, ",
              plan.output_bytes(), " bytes (", human_bytes(static_cast<double>(plan.output_bytes())), "), ",
              plan.index.bits_per_param, " bits per parameter\n");
  return text + str("peak memory: at most ", human_bytes(static_cast<double>(plan.peak_memory)), "\n");
}

}  // namespace mlc::weights
