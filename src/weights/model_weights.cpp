// Reads rows of weights from checkpoints and from converted folders.
#include "weights/model_weights.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/checked.h"
#include "formats/quant/plain.h"
#include "formats/quant/reader.h"
#include "frontend/layers/parameters.h"
#include "graph/ops/math.h"

namespace mlc::weights {
namespace {

ModelWeights::Shape shape_of(std::vector<int64_t> dims) {
  ModelWeights::Shape shape;
  shape.row_size = dims.size() > 1 ? dims.back() : 1;
  shape.rows = 1;
  for (int64_t dim : dims) shape.rows *= dim;
  shape.rows /= std::max<int64_t>(1, shape.row_size);
  shape.dims = std::move(dims);
  return shape;
}

// "x.weight" as `what`.
std::string record_name(const std::string& name, const std::string& what) {
  return (name.ends_with("weight") ? name.substr(0, name.size() - 6) : name + ".") + what;
}

}  // namespace

std::vector<float> ModelWeights::rows(const std::string& name, int64_t begin, int64_t end) const {
  constexpr int64_t kElements = 1 << 18;  // of a piece of work
  const int64_t row_size = shape(name).row_size;
  std::vector<float> values(static_cast<size_t>((end - begin) * row_size));
  const int64_t step = std::max<int64_t>(1, kElements / std::max<int64_t>(1, row_size));
  parallel_for(threads_, (end - begin + step - 1) / step, [&](int64_t i) {
    static thread_local std::vector<float> piece;
    const int64_t first = begin + i * step;
    read(name, first, std::min(end, first + step), piece);
    std::ranges::copy(piece, values.begin() + (first - begin) * row_size);
  });
  return values;
}

graph::HostTensor ModelWeights::whole(const std::string& name) const {
  const Shape& s = shape(name);
  return {DType::kF32, s.dims, rows(name, 0, s.rows), {}};
}

graph::HostTensor ModelWeights::take(const std::string& name, std::span<const int32_t> ids) const {
  const Shape& s = shape(name);
  graph::HostTensor out = graph::make_floats({static_cast<int64_t>(ids.size()), s.row_size});
  parallel_for(threads_, static_cast<int64_t>(ids.size()), [&](int64_t i) {
    static thread_local std::vector<float> row;
    const int64_t id = std::clamp<int64_t>(ids[size_t(i)], 0, s.rows - 1);
    read(name, id, id + 1, row);
    std::ranges::copy(row, out.floats.begin() + i * s.row_size);
  });
  return out;
}

SourceWeights::SourceWeights(const Plan& plan, const Checkpoint& checkpoint, int threads)
    : ModelWeights(threads), checkpoint_(checkpoint) {
  for (const ParameterPlan& p : plan.parameters)
    by_name_[p.parameter.name] = {&p, Shape{p.shape, p.rows, p.row_size}};
}

const ParameterPlan& SourceWeights::find(const std::string& name) const {
  auto it = by_name_.find(name);
  internal_check(it != by_name_.end(), name + " is in the plan");
  return *it->second.plan;
}

const ModelWeights::Shape& SourceWeights::shape(const std::string& name) const {
  find(name);
  return by_name_.at(name).shape;
}

void SourceWeights::release(const std::string& name) const {
  for (int index : find(name).sources) checkpoint_.release(index);
}

void SourceWeights::read(const std::string& name, int64_t begin, int64_t end,
                         std::vector<float>& values) const {
  static thread_local std::vector<std::byte> scratch;
  read_values(find(name), checkpoint_, begin, end, scratch, values);
}

Result<std::unique_ptr<FolderWeights>> FolderWeights::open(const std::string& folder,
                                                           const std::vector<frontend::Parameter>& parameters,
                                                           const QuantScheme& scheme, int threads) {
  std::unique_ptr<FolderWeights> weights(new FolderWeights(threads));
  ASSIGN_OR_RETURN(weights->shards_, Shards::open(folder));
  for (const frontend::Parameter& p : parameters) {
    const WeightFormat format = frontend::format_of(p, scheme);
    ASSIGN_OR_RETURN(weights->by_name_[p.name],
                     weights->find_records(p, format, p.force_f32 ? DType::kF32 : scheme.model_dtype));
  }
  return weights;
}

Result<FolderWeights::Entry> FolderWeights::find_records(const frontend::Parameter& parameter,
                                                         const WeightFormat& format, DType plain) const {
  Entry entry{shape_of(parameter.shape), format, {}};
  std::vector<FormatRecord> described = format_records(format, parameter.shape);
  if (!format.is_quantized()) described = {{FormatRecord::Part::kCodes, "weight", plain, parameter.shape}};
  for (const FormatRecord& wanted : described) {
    if (wanted.part == FormatRecord::Part::kInputScale) {  // no part of the weight
      entry.format.input_scale = false;
      continue;
    }
    const std::string name =
        format.is_quantized() ? record_name(parameter.name, wanted.name) : parameter.name;
    const TensorRecord* record = shards_->find(name);
    if (!record) {
      std::vector<std::string> names;
      for (const ShardRecord& s : shards_->index().shards)
        for (const TensorRecord& t : s.tensors) names.push_back(t.name);
      return Status::error(str(shards_->path(), ": tensor ", shown_name(name),
                               " is missing, its config needs it", did_you_mean(name, names)));
    }
    if (record->shape != wanted.shape || record->dtype != wanted.dtype)
      return Status::error(str(shards_->path(), ": tensor ", shown_name(name), " is ",
                               long_name(record->dtype), " ", shown_shape(record->shape), ", expected ",
                               long_name(wanted.dtype), " ", shown_shape(wanted.shape), " by its config"));
    entry.records.push_back(record);
    if (wanted.part == FormatRecord::Part::kScales && record->stored_dtype() != record->dtype)
      entry.format.dtype = record->stored_dtype();
  }
  return entry;
}

const FolderWeights::Entry& FolderWeights::entry(const std::string& name) const {
  auto it = by_name_.find(name);
  internal_check(it != by_name_.end(), name + " is a parameter of the model");
  return it->second;
}

const ModelWeights::Shape& FolderWeights::shape(const std::string& name) const { return entry(name).shape; }

void FolderWeights::release(const std::string& name) const {
  for (const TensorRecord* record : entry(name).records) shards_->release(*record);
}

void FolderWeights::read(const std::string& name, int64_t begin, int64_t end,
                         std::vector<float>& values) const {
  const Entry& e = entry(name);
  values.resize(static_cast<size_t>((end - begin) * e.shape.row_size));
  if (e.format.is_quantized()) return read_quantized(e, begin, end, values);
  const DType stored = e.records[0]->stored_dtype();
  decode_floats(stored, shards_->bytes(*e.records[0]).data() + begin * e.shape.row_size * size_of(stored),
                values);
}

// A stack's parts are weights of their own, one after the other in each record, but where rows share scales.
void FolderWeights::read_quantized(const Entry& e, int64_t begin, int64_t end,
                                   std::vector<float>& values) const {
  const int64_t parts = e.format.group_n == 1 ? e.shape.parts() : 1, n = e.shape.rows / parts,
                k = e.shape.row_size;
  float* to = values.data();
  for (int64_t row = begin; row < end;) {
    const int64_t part = row / n, last = std::min(end, (part + 1) * n);
    std::vector<WeightReader::Bytes> records;
    for (const TensorRecord* record : e.records) {
      const WeightReader::Bytes all = shards_->bytes(*record);
      const size_t one = all.size() / static_cast<size_t>(parts);
      records.push_back(all.subspan(static_cast<size_t>(part) * one, one));
    }
    const WeightReader reader(e.format, n, k, records);
    for (; row < last; ++row, to += k) reader.read_row(row - part * n, {to, static_cast<size_t>(k)});
  }
}

}  // namespace mlc::weights
