// The null device.
#include "runtime/devices/null/null.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

struct NullDevice {
  NullCounters counters;
  int polls = 0;                  // that find a read under way
  int polls_left = 0;             // of the read that was asked for
  std::map<void*, int64_t> live;  // handle -> bytes

  bool covers(DeviceAddress a, int64_t bytes) const {
    auto it = live.find(a.handle);
    return it != live.end() && a.offset >= 0 && a.offset + bytes <= it->second;
  }
};

struct Recorded {
  int64_t launches;
  std::vector<DeviceAddress> buffers;
};

NullDevice& of(void* self) { return *static_cast<NullDevice*>(self); }

Result<DeviceBuffer> allocate(void* self, int64_t bytes) {
  if (bytes < 0) return Status::error("null device: negative allocation");
  void* memory = std::calloc(1, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (!memory)
    return Status::error(str("null device: cannot allocate ", human_bytes(static_cast<double>(bytes))));
  NullDevice& d = of(self);
  d.live[memory] = bytes;
  d.counters.allocations++;
  d.counters.live_bytes += bytes;
  d.counters.peak_bytes = std::max(d.counters.peak_bytes, d.counters.live_bytes);
  return DeviceBuffer{memory, bytes};
}

void release(void* self, DeviceBuffer buffer) {
  NullDevice& d = of(self);
  internal_check(d.live.erase(buffer.handle) == 1, "null device: release of memory that is not live");
  d.counters.live_bytes -= buffer.bytes;
  std::free(buffer.handle);
}

Status copy_in(void* self, DeviceAddress to, std::span<const std::byte> from) {
  NullDevice& d = of(self);
  internal_check(d.covers(to, static_cast<int64_t>(from.size())),
                 "null device: copy past the end of a buffer");
  if (!from.empty()) std::memcpy(static_cast<char*>(to.handle) + to.offset, from.data(), from.size());
  d.counters.copied_in_bytes += static_cast<int64_t>(from.size());
  return Status::ok();
}

Status begin_read(void* self, std::span<std::byte> to, DeviceAddress from) {
  NullDevice& d = of(self);
  internal_check(d.covers(from, static_cast<int64_t>(to.size())),
                 "null device: copy past the end of a buffer");
  if (!to.empty()) std::memcpy(to.data(), static_cast<const char*>(from.handle) + from.offset, to.size());
  d.counters.copied_out_bytes += static_cast<int64_t>(to.size());
  d.polls_left = d.polls;
  return Status::ok();
}

Result<bool> poll(void* self) { return of(self).polls_left-- <= 0; }

std::string missing_requirement(void*, const Json&) { return ""; }

Result<KernelSet> load_kernels(void*, const MlcLibraryVariant& variant) {
  return static_cast<KernelSet>(new uint64_t(variant.kernel_count));
}

void unload_kernels(void*, KernelSet kernels) { delete static_cast<uint64_t*>(kernels); }

void check_buffers(const NullDevice& d, std::span<const DeviceAddress> buffers) {
  for (const DeviceAddress& a : buffers)
    internal_check(d.covers(a, a.bytes), "null device: launch with a buffer that is not live or too small");
}

void check(const NullDevice& d, KernelSet kernels, std::span<const Launch> launches) {
  for (const Launch& l : launches) {
    internal_check(l.kernel < *static_cast<uint64_t*>(kernels), "null device: kernel index out of range");
    internal_check(l.tiles >= 0, "null device: negative tile count");
    check_buffers(d, l.buffers);
  }
}

Status submit(void* self, KernelSet kernels, std::span<const Launch> launches) {
  NullDevice& d = of(self);
  check(d, kernels, launches);
  d.counters.submits++;
  d.counters.launches += static_cast<int64_t>(launches.size());
  return Status::ok();
}

Result<Recording> record(void* self, KernelSet kernels, std::span<const Launch> launches) {
  NullDevice& d = of(self);
  check(d, kernels, launches);
  d.counters.recordings++;
  d.counters.live_recordings++;
  auto* recorded = new Recorded{static_cast<int64_t>(launches.size()), {}};
  for (const Launch& l : launches)
    recorded->buffers.insert(recorded->buffers.end(), l.buffers.begin(), l.buffers.end());
  return static_cast<Recording>(recorded);
}

Status replay(void* self, Recording recording) {
  NullDevice& d = of(self);
  const auto& recorded = *static_cast<const Recorded*>(recording);
  check_buffers(d, recorded.buffers);
  d.counters.replays++;
  d.counters.submits++;
  d.counters.launches += recorded.launches;
  return Status::ok();
}

void release_recording(void* self, Recording recording) {
  of(self).counters.live_recordings--;
  delete static_cast<Recorded*>(recording);
}

Status sync(void* self) {
  of(self).polls_left = 0;
  return Status::ok();
}

void destroy(void* self) { delete static_cast<NullDevice*>(self); }

}  // namespace

Result<DevicePtr> open_null_device(const DeviceOptions&) {
  auto* device = new Device{.properties = {.name = "null",
                                           .description = "counts and checks, computes nothing",
                                           .memory_bytes = int64_t{1} << 40,
                                           .threads = 1,
                                           .host_memory = false},
                            .self = new NullDevice,
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
                            .destroy = destroy};
  return DevicePtr(device);
}

void set_null_polls(Device& device, int polls) {
  internal_check(device.properties.name == "null", "set_null_polls of another device");
  of(device.self).polls = polls;
}

const NullCounters& null_counters(const Device& device) {
  internal_check(device.properties.name == "null", "null_counters of another device");
  return of(device.self).counters;
}

}  // namespace mlc::runtime
