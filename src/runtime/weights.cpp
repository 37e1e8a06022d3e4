// Loads weights into their physical layouts.
#include "runtime/weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/half.h"
#include "base/strings.h"
#include "formats/plan_sources.h"

namespace mlc::runtime {
namespace {

constexpr int64_t kAlignment =
    256;  // what any GPU binds at (Vulkan's minStorageBufferOffsetAlignment), whole cache lines

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> parts;
  for (int64_t d : shape) parts.push_back(std::to_string(d));
  return "[" + join(parts, ", ") + "]";
}

Result<const TensorRecord*> find_record(const Shards& shards, const PlanWeight& weight, size_t i,
                                        const Module& module) {
  const std::string& name = weight.sources[i];
  const TensorRecord* record = shards.find(name);
  if (!record) {
    std::vector<std::string> names;
    for (const ShardRecord& s : shards.index().shards)
      for (const TensorRecord& t : s.tensors) names.push_back(t.name);
    return Status::error(
        str(shards.path(), ": tensor '", name, "' is missing, ", module.path(), " needs it (model_type ",
            find_string(module.manifest(), "model_type").value_or("?"), ", quantization ",
            find_string(module.manifest(), "quantization").value_or("?"), ")", did_you_mean(name, names)));
  }
  if (record->shape != weight.source_shapes[i] || long_name(record->dtype) != weight.source_dtypes[i])
    return Status::error(str(shards.path(), ": tensor '", name, "' is ", long_name(record->dtype), " ",
                             shape_text(record->shape), ", ", module.path(), " expects ",
                             weight.source_dtypes[i], " ", shape_text(weight.source_shapes[i]),
                             "; use the library compiled from this folder's config"));
  return record;
}

// What a source needs while it is loaded, where it is not used as it lies in its file.
struct Storage {
  std::vector<std::byte> read, cut;
  std::vector<float> widened;
};

// The record's elements as the library expects them: float32 that is stored as bfloat16 is widened.
Result<std::span<const std::byte>> decode(const Shards& shards, const TensorRecord& record, Storage& all) {
  std::vector<float>& storage = all.widened;
  ASSIGN_OR_RETURN(std::span<const std::byte> bytes, shards.read(record, all.read));
  if (record.stored_dtype() == record.dtype) return bytes;
  storage.resize(bytes.size() / 2);
  for (size_t i = 0; i < storage.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    storage[i] = bf16_to_f32(half);
  }
  return std::as_bytes(std::span(storage));
}

// What a piece of a weight takes of a source: parts of its rows, which lie in one piece each where rows are
// the first axis.
std::span<const std::byte> cut(std::span<const std::byte> source, const PlanWeight& weight, size_t i,
                               std::vector<std::byte>& storage) {
  const std::vector<int64_t>& shape = weight.source_shapes[i];
  const bool whole_rows = weight.row_axis == 0;
  const int64_t in_one = rows_in_one(weight, i);
  const auto lines = static_cast<size_t>(whole_rows ? 1 : shape[0]), line = source.size() / lines;
  const size_t row = line / static_cast<size_t>(source_rows(shape, weight.row_axis));
  for (size_t l = 0; l < lines; ++l)
    for (const PlanRows& part : weight.rows) {
      std::span<const std::byte> bytes =
          source.subspan(l * line + static_cast<size_t>(part.first / in_one) * row,
                         static_cast<size_t>(part.count / in_one) * row);
      if (whole_rows && weight.rows.size() == 1) return bytes;
      storage.insert(storage.end(), bytes.begin(), bytes.end());
    }
  return storage;
}

// Sources as device addresses: host pointers where the device takes them, else copies kept in `staging`, of
// whole words, as kernels read them.
Result<DeviceAddress> stage(Device& device, std::span<const std::byte> bytes,
                            std::vector<OwnedBuffer>& staging) {
  if (device.properties.host_memory) return DeviceAddress{const_cast<std::byte*>(bytes.data()), 0};
  ASSIGN_OR_RETURN(OwnedBuffer buffer,
                   OwnedBuffer::allocate(device, static_cast<int64_t>((bytes.size() + 3) / 4 * 4)));
  RETURN_IF_ERROR(device.copy_in(device.self, buffer.address(), bytes));
  staging.push_back(std::move(buffer));
  return staging.back().address();
}

Status load_weight(const Module& module, const Shards& shards, const PlanWeight& weight,
                   DeviceAddress target) {
  Device& device = module.device();
  std::vector<const TensorRecord*> records;
  std::vector<Storage> storage(weight.sources.size());
  std::vector<OwnedBuffer> staging;
  std::vector<DeviceAddress> buffers;
  for (size_t i = 0; i < weight.sources.size(); ++i) {
    ASSIGN_OR_RETURN(const TensorRecord* record, find_record(shards, weight, i, module));
    records.push_back(record);
    ASSIGN_OR_RETURN(std::span<const std::byte> bytes, decode(shards, *record, storage[i]));
    if (!weight.rows.empty()) bytes = cut(bytes, weight, i, storage[i].cut);
    if (weight.preproc_kernel < 0) {
      if (static_cast<int64_t>(bytes.size()) != weight.bytes)
        return Status::error(str(shards.path(), ": tensor '", record->name, "' has ", bytes.size(),
                                 " bytes, ", module.path(), " expects ", weight.bytes));
      RETURN_IF_ERROR(device.copy_in(device.self, target, bytes));
    } else {
      ASSIGN_OR_RETURN(DeviceAddress address, stage(device, bytes, staging));
      buffers.push_back(address);
    }
  }
  if (weight.preproc_kernel >= 0) {
    buffers.push_back(target);
    Launch launch{.kernel = static_cast<uint32_t>(weight.preproc_kernel),
                  .buffers = buffers,
                  .dims = {},
                  .tiles = weight.preproc_tiles,
                  .scratch_bytes = weight.preproc_scratch_bytes};
    RETURN_IF_ERROR(device.submit(device.self, module.kernels(), {&launch, 1}));
    RETURN_IF_ERROR(device.sync(device.self));
  }
  for (const TensorRecord* record : records) shards.release(*record);
  return Status::ok();
}

// Where a weight lies: which buffer, how large that is in all, and the offset in it.
struct Place {
  size_t buffer;
  int64_t buffer_bytes, offset;
};

std::vector<Place> place(const Plan& plan, const Device& device) {
  const int64_t most =
      device.properties.max_allocation_bytes > 0 ? device.properties.max_allocation_bytes : INT64_MAX;
  std::vector<Place> places;
  std::vector<int64_t> sizes(1, 0);
  for (const PlanWeight& w : plan.weights) {
    int64_t bytes = (w.bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (sizes.back() > 0 && sizes.back() + bytes > most) sizes.push_back(0);
    places.push_back({sizes.size() - 1, 0, sizes.back()});
    sizes.back() += bytes;
  }
  for (Place& p : places) p.buffer_bytes = sizes[p.buffer];
  return places;
}

// The order of loading: a source is in memory beside what is loaded already, so the last ones had better be
// small.
std::vector<size_t> largest_first(const Plan& plan) {
  std::vector<size_t> order(plan.weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return plan.weights[a].bytes > plan.weights[b].bytes; });
  return order;
}

}  // namespace

Result<std::unique_ptr<WeightBuffers>> WeightBuffers::load(const Module& module, const std::string& folder,
                                                           const LoadProgress& progress) {
  ASSIGN_OR_RETURN(auto shards, Shards::open(folder));
  std::unique_ptr<WeightBuffers> weights(new WeightBuffers);
  const Plan& plan = module.plan();
  Device& device = module.device();
  const int64_t largest = device.properties.max_binding_bytes;
  for (const PlanWeight& w : plan.weights) {
    for (size_t i = 0; i < w.sources.size(); ++i) {
      auto found = find_record(*shards, w, i, module);  // all are checked before memory is taken
      if (!found.is_ok()) return found.status();
    }
    if (largest > 0 && w.bytes > largest)
      return Status::error(
          str(module.path(), ": weight '", w.name, "' takes ", human_bytes(static_cast<double>(w.bytes)),
              ", the ", device.properties.name, " device's driver lets kernels see at most ",
              human_bytes(static_cast<double>(largest)),
              " of one tensor; compile the model again with --device ", device.properties.name));
  }
  const std::vector<Place> places = place(plan, device);
  for (const Place& p : places) {
    if (p.buffer < weights->buffers_.size()) continue;
    ASSIGN_OR_RETURN(OwnedBuffer buffer, OwnedBuffer::allocate(device, p.buffer_bytes));
    weights->buffers_.push_back(std::move(buffer));
  }
  for (const Place& p : places) weights->addresses_.push_back(weights->buffers_[p.buffer].address(p.offset));
  for (size_t i : largest_first(plan)) {
    RETURN_IF_ERROR(load_weight(module, *shards, plan.weights[i], weights->addresses_[i]));
    if (progress) progress(plan.weights[i].bytes);
  }
  return weights;
}

}  // namespace mlc::runtime
