// Streams a converted model over a text and keeps the largest magnitude of each linear's inputs.
#include "weights/quantize/input_scales.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/strings.h"
#include "formats/md5.h"
#include "formats/quant/float8.h"
#include "formats/quant/plain.h"
#include "frontend/layers/parameters.h"
#include "weights/model_weights.h"
#include "weights/quantize/run_model.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;
using graph::Node;

// "x.weight" as "x.<record>".
std::string record_name(const std::string& parameter, const std::string& record) {
  constexpr std::string_view kWeight = "weight";
  return parameter.substr(0, parameter.size() - kWeight.size()) + record;
}

class Measurement {
 public:
  Measurement(const frontend::ModelConfig& config, const QuantScheme& scheme, const ModelWeights& weights,
              const std::function<void(int64_t)>& progress)
      : config_(config), format_(scheme.linear), weights_(weights), progress_(progress) {
    for (const Parameter& p : frontend::build_model(config, scheme).parameters)
      if (frontend::format_of(p, scheme).is_float8()) wanted_.insert(p.name);
  }

  Result<InputScales> run(const Windows& windows, int threads) {
    ASSIGN_OR_RETURN(const frontend::BuiltModel built, build_streamed(config_));
    ASSIGN_OR_RETURN(const StepArguments arguments, step_arguments(config_, windows));
    Stream stream(*built.module, windows, arguments, stream_parameters(weights_), threads);
    Stream* streams[] = {&stream};
    RETURN_IF_ERROR(run_model(*built.module, streams,
                              [&](const Node& node, bool last) { return measure(stream, node, last); }));
    InputScales scales;
    for (const auto& [name, largest] : largest_)
      scales[record_name(name, kInputScale)] = float8_scale(format_, largest);
    return scales;
  }

 private:
  Result<bool> measure(Stream& stream, const Node& node, bool last) {
    const std::string& name = node.inputs[1]->name;
    const bool wanted = wanted_.contains(name);
    if (wanted && node.op == "matmul") RETURN_IF_ERROR(add(name, stream.value(node.inputs[0])));
    for (int64_t e = 0; wanted && node.op != "matmul" && e < weights_.shape(name).parts(); ++e)
      RETURN_IF_ERROR(add(name, stream.expert_rows(node, e).x));
    if (!last) run_linear(stream, node, weights_);
    weights_.release(name);
    if (progress_ && wanted) progress_(1);
    return !last;
  }

  Status add(const std::string& name, const graph::HostTensor& x) {
    float& largest = largest_[name];
    for (float v : x.floats) {
      if (!std::isfinite(v))
        return Status::error(str("--dataset: the inputs of ", name,
                                 " are no finite numbers on this text; the weights are damaged, or the model "
                                 "overflows"));
      largest = std::max(largest, std::fabs(v));
    }
    return Status::ok();
  }

  frontend::ModelConfig config_;
  WeightFormat format_;
  const ModelWeights& weights_;
  const std::function<void(int64_t)>& progress_;
  std::set<std::string> wanted_;
  std::map<std::string, float> largest_;
};

bool has_input_scale(const Parameter& p, const QuantScheme& scheme) {
  return frontend::format_of(p, scheme).is_float8();
}

// Puts the new values into a copy of the shard's file.
Status rewrite(const std::string& folder, ShardRecord& shard, const InputScales& scales) {
  const std::string path = path_join(folder, shard.file);
  ASSIGN_OR_RETURN(std::string content, read_file(path));
  if (static_cast<int64_t>(content.size()) != shard.size)
    return Status::error(str(path, ": has ", content.size(), " bytes, its index says ", shard.size,
                             "; convert the model again"));
  for (const TensorRecord& t : shard.tensors)
    if (auto scale = scales.find(t.name); scale != scales.end())
      encode_floats(t.stored_dtype(), {&scale->second, 1},
                    reinterpret_cast<std::byte*>(content.data()) + t.offset);
  const auto bytes = std::as_bytes(std::span(content));
  ASSIGN_OR_RETURN(auto file, AtomicFile::create(path));
  RETURN_IF_ERROR(file->write(bytes));
  RETURN_IF_ERROR(file->commit());
  shard.md5 = md5(bytes);
  return Status::ok();
}

}  // namespace

int64_t count_input_scales(const frontend::ModelConfig& config, const QuantScheme& scheme) {
  const frontend::BuiltModel built = frontend::build_model(config, scheme);
  return std::ranges::count_if(built.parameters,
                               [&](const Parameter& p) { return has_input_scale(p, scheme); });
}

Result<InputScales> measure_input_scales(const frontend::ModelConfig& config, const QuantScheme& scheme,
                                         const std::string& folder, const Windows& windows, int threads,
                                         const std::function<void(int64_t)>& progress) {
  if (scheme.linear.code != WeightFormat::Code::kE4M3 || scheme.linear.group_n != 0)
    return Status::error(str("MODEL: ", folder, " is of ", scheme.name,
                             ", whose inputs have no scale of their own; expected a folder that "
                             "convert_weight wrote with --quantization e4m3_e4m3_f16_max_calibrate or "
                             "e4m3_e4m3_f16"));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<FolderWeights> weights,
      FolderWeights::open(folder, frontend::build_model(config, scheme).parameters, scheme, threads));
  return Measurement(config, scheme, *weights, progress).run(windows, threads);
}

Status write_input_scales(const std::string& folder, const InputScales& scales) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Shards> shards, Shards::open(folder));
  ShardIndex index = shards->index();
  std::set<std::string> missing;
  for (const auto& [name, value] : scales) missing.insert(name);
  for (const ShardRecord& shard : index.shards)
    for (const TensorRecord& t : shard.tensors) {
      if (!t.name.ends_with(str(".", kInputScale))) continue;
      if (missing.erase(t.name) == 0 || t.dtype != DType::kF32 || t.shape != std::vector<int64_t>{1})
        return Status::error(str("--output: ", folder, " has '", t.name,
                                 "', which the measured model has not; convert both from one model"));
    }
  if (!missing.empty())
    return Status::error(str("--output: ", folder, " has no '", *missing.begin(), "'",
                             missing.size() > 1 ? str(" and ", missing.size() - 1, " others like it") : "",
                             "; run convert_weight with --quantization e4m3_e4m3_f16 there first"));
  for (ShardRecord& shard : index.shards)
    if (std::ranges::any_of(shard.tensors, [&](const TensorRecord& t) { return scales.contains(t.name); }))
      RETURN_IF_ERROR(rewrite(folder, shard, scales));
  return write_shard_index(folder, index);
}

}  // namespace mlc::weights
