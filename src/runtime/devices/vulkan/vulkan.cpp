// The Vulkan device as the functions of device.h.
#include "runtime/devices/vulkan/vulkan.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "runtime/devices/gpu_requirements.h"
#include "runtime/devices/vulkan/kernels.h"

namespace mlc::runtime {
namespace {

using vulkan::Buffer;
using vulkan::Commands;
using vulkan::Context;
using vulkan::Kernels;

// Buffers up to this size are written and read by the host directly, on discrete GPUs over the bus: a step's
// inputs are some KB, its logits some hundred KB.
constexpr int64_t kReachableBytes = int64_t{1} << 20;

Context& of(void* self) { return *static_cast<Context*>(self); }
const Buffer& buffer_of(DeviceAddress a) { return *static_cast<const Buffer*>(a.handle); }

Result<DeviceBuffer> allocate(void* self, int64_t bytes) {
  Context& c = of(self);
  ASSIGN_OR_RETURN(Buffer buffer,
                   c.make_buffer(bytes, bytes <= (c.settings.unreachable_memory ? 4096 : kReachableBytes)));
  if (Status s = c.fill_with_zeros(buffer); !s.is_ok()) {
    c.destroy_buffer(buffer);
    return s;
  }
  return DeviceBuffer{new Buffer(buffer), bytes};
}

void release(void* self, DeviceBuffer buffer) {
  Context& c = of(self);
  (void)c.wait();
  auto* held = static_cast<Buffer*>(buffer.handle);
  c.destroy_buffer(*held);
  delete held;
}

// Calls direct(mapped memory) where the host reaches the buffer, else piece(begin, bytes) for as much as
// staging holds at a time.
template <typename Direct, typename Piece>
Status move(Context& c, DeviceAddress at, size_t size, const Direct& direct, const Piece& piece) {
  if (size == 0) return Status::ok();
  const Buffer& buffer = buffer_of(at);
  const auto bytes = static_cast<int64_t>(size);
  internal_check(at.offset >= 0 && at.offset + bytes <= buffer.bytes,
                 "vulkan device: copy past the end of a buffer");
  RETURN_IF_ERROR(c.wait());
  if (buffer.mapped) {
    direct(buffer.mapped + at.offset);
    return Status::ok();
  }
  RETURN_IF_ERROR(c.ensure_staging());
  for (int64_t done = 0; done < bytes; done += c.staging.bytes)
    RETURN_IF_ERROR(piece(done, std::min(c.staging.bytes, bytes - done)));
  return Status::ok();
}

Status copy_in(void* self, DeviceAddress to, std::span<const std::byte> from) {
  Context& c = of(self);
  auto direct = [&](std::byte* mapped) { std::memcpy(mapped, from.data(), from.size()); };
  return move(c, to, from.size(), direct, [&](int64_t done, int64_t bytes) {
    std::memcpy(c.staging.mapped, from.data() + done, static_cast<size_t>(bytes));
    return c.copy(c.staging.buffer, 0, buffer_of(to).buffer, to.offset + done, bytes);
  });
}

Status finish_read(Context& c, std::span<std::byte> to, DeviceAddress from) {
  ++c.counters.readbacks;
  c.counters.bytes_read += static_cast<int64_t>(to.size());
  auto direct = [&](const std::byte* mapped) { std::memcpy(to.data(), mapped, to.size()); };
  return move(c, from, to.size(), direct, [&](int64_t done, int64_t bytes) {
    RETURN_IF_ERROR(c.copy(buffer_of(from).buffer, from.offset + done, c.staging.buffer, 0, bytes));
    std::memcpy(to.data() + done, c.staging.mapped, static_cast<size_t>(bytes));
    return Status::ok();
  });
}

Status begin_read(void* self, std::span<std::byte> to, DeviceAddress from) {
  Context& c = of(self);
  if (c.submitted > 1) RETURN_IF_ERROR(c.wait());  // the fence tells of one: a step is one submission
  c.reading = true;
  c.read_to = to;
  c.read_from = from;
  return Status::ok();
}

Result<bool> poll(void* self) {
  Context& c = of(self);
  if (!c.reading) return true;
  auto idle = c.idle();
  if (idle.is_ok() && !*idle) return false;
  c.reading = false;
  RETURN_IF_ERROR(idle.status());
  RETURN_IF_ERROR(c.wait());
  if (!c.read_to.empty()) RETURN_IF_ERROR(finish_read(c, c.read_to, c.read_from));
  return true;
}

// PCI vendor numbers (pcisig.com).
constexpr std::pair<const char*, uint32_t> kVendors[] = {{"vendor_nvidia", 0x10DE}, {"vendor_amd", 0x1002},
                                                         {"vendor_apple", 0x106B},  {"vendor_intel", 0x8086},
                                                         {"vendor_adreno", 0x5143}, {"vendor_mali", 0x13B5}};

// In the names of Target::required.
std::vector<std::string> features_of(const Context& c) {
  std::vector<std::string> out;
  if (c.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU) out.push_back("software");
  for (const auto& [name, vendor] : kVendors)
    if (c.properties.vendorID == vendor) out.push_back(name);
  constexpr VkSubgroupFeatureFlags kNeeded =
      VK_SUBGROUP_FEATURE_ARITHMETIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT;
  if ((c.subgroups.supportedOperations & kNeeded) == kNeeded &&
      (c.subgroups.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
    out.push_back(str("subgroups_", c.subgroups.subgroupSize));
  for (const std::string& shape : c.matrices.shapes()) out.push_back(shape);
  return out;
}

std::string missing_requirement(void* self, const Json& header) {
  const Context& c = of(self);
  const VkPhysicalDeviceLimits& limits = c.properties.limits;
  return missing_gpu_requirement(
      {.kind = "vulkan",
       .features = features_of(c),
       .group_size = std::min(limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]),
       .shared_bytes = limits.maxComputeSharedMemorySize},
      header);
}

Result<KernelSet> load_kernels(void* self, const MlcLibraryVariant& variant) {
  ASSIGN_OR_RETURN(auto kernels, Kernels::load(of(self), variant));
  return static_cast<KernelSet>(kernels.release());
}

void unload_kernels(void*, KernelSet kernels) { delete static_cast<Kernels*>(kernels); }

Status submit(void* self, KernelSet kernels, std::span<const Launch> launches) {
  if (launches.empty()) return Status::ok();
  Context& c = of(self);
  ASSIGN_OR_RETURN(Commands commands, static_cast<Kernels*>(kernels)->record(launches));
  c.queued_once.push_back(commands);
  return c.queue(commands);
}

Result<Recording> record(void*, KernelSet kernels, std::span<const Launch> launches) {
  ASSIGN_OR_RETURN(Commands commands, static_cast<Kernels*>(kernels)->record(launches));
  return static_cast<Recording>(new Commands(commands));
}

Status replay(void* self, Recording recording) {
  Context& c = of(self);
  RETURN_IF_ERROR(c.wait());  // a command buffer is queued once at a time
  return c.queue(*static_cast<Commands*>(recording));
}

void release_recording(void* self, Recording recording) {
  Context& c = of(self);
  (void)c.wait();
  c.release_commands(*static_cast<Commands*>(recording));
  delete static_cast<Commands*>(recording);
}

Status sync(void* self) { return of(self).wait(); }
void destroy(void* self) { delete &of(self); }

DeviceProperties describe(const Context& c) {
  const VkPhysicalDeviceProperties& p = c.properties;
  return {.name = "vulkan",
          .description = str(p.deviceName, ", Vulkan ", VK_API_VERSION_MAJOR(p.apiVersion), ".",
                             VK_API_VERSION_MINOR(p.apiVersion), ", subgroups of ", c.subgroups.subgroupSize,
                             ", ", p.limits.maxComputeSharedMemorySize / 1024, " KiB shared, ",
                             human_bytes(static_cast<double>(c.heap_bytes))),
          .memory_bytes = c.heap_bytes,
          .threads = 1,
          .host_memory = false,
          .max_allocation_bytes = static_cast<int64_t>(
              std::min<uint64_t>(c.maintenance.maxMemoryAllocationSize, static_cast<uint64_t>(c.heap_bytes))),
          .max_binding_bytes = c.properties.limits.maxStorageBufferRange / 16 * 16};
}

}  // namespace

Result<DevicePtr> open_vulkan_device_with(const DeviceOptions& options, const VulkanSettings& settings) {
  auto context = std::make_unique<Context>();
  RETURN_IF_ERROR(context->open(options.index, settings));
  return DevicePtr(new Device{.properties = describe(*context),
                              .self = context.release(),
                              .allocate = allocate,
                              .release = release,
                              .copy_in = copy_in,
                              .begin_read = begin_read,
                              .poll = poll,
                              .missing_requirement = missing_requirement,
                              .load_kernels = load_kernels,
                              .unload_kernels = unload_kernels,
                              .submit = submit,
                              .sync = sync,
                              .record = record,
                              .replay = replay,
                              .release_recording = release_recording,
                              .destroy = destroy});
}

Result<DevicePtr> open_vulkan_device(const DeviceOptions& options) {
  return open_vulkan_device_with(options, {});
}

Result<std::vector<ListedDevice>> list_vulkan_devices() {
  std::vector<ListedDevice> out;
  for (int count = 1, i = 0; i < count; ++i) {
    Context c;
    RETURN_IF_ERROR(c.open(i, {}));
    count = c.gpu_count;
    out.push_back({.name = str("vulkan:", i),
                   .description = describe(c).description,
                   .memory_bytes = c.heap_bytes,
                   .features = features_of(c),
                   .software = c.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU});
  }
  return out;
}

VulkanCounters vulkan_counters(const Device& device) {
  internal_check(device.properties.name == "vulkan", "vulkan_counters of another device");
  return of(device.self).counters;
}

std::vector<std::string> vulkan_messages(const Device& device) {
  internal_check(device.properties.name == "vulkan", "vulkan_messages of another device");
  Context& c = of(device.self);
  std::lock_guard lock(c.messages.mutex);
  return c.messages.lines;
}

}  // namespace mlc::runtime
