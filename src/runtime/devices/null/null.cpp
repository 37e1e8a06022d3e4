// The null device.
#include "runtime/devices/null/null.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "runtime/devices/device_of.h"

namespace mlc::runtime {
namespace {

struct Recorded {
  int64_t launches;
  std::vector<DeviceAddress> buffers;
};

class NullDevice {
 public:
  NullCounters counters;
  int polls = 0;  // that find a read under way

  Result<DeviceBuffer> allocate(int64_t bytes) {
    if (bytes < 0) return Status::error("null device: negative allocation");
    void* memory = std::calloc(1, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
    if (!memory)
      return Status::error(str("null device: cannot allocate ", human_bytes(static_cast<double>(bytes))));
    live_[memory] = bytes;
    counters.allocations++;
    counters.live_bytes += bytes;
    counters.peak_bytes = std::max(counters.peak_bytes, counters.live_bytes);
    return DeviceBuffer{memory, bytes};
  }
  void release(DeviceBuffer buffer) {
    internal_check(live_.erase(buffer.handle) == 1, "null device: release of memory that is not live");
    counters.live_bytes -= buffer.bytes;
    std::free(buffer.handle);
  }
  Status copy_in(DeviceAddress to, std::span<const std::byte> from) {
    internal_check(covers(to, static_cast<int64_t>(from.size())),
                   "null device: copy past the end of a buffer");
    if (!from.empty()) std::memcpy(static_cast<char*>(to.handle) + to.offset, from.data(), from.size());
    counters.copied_in_bytes += static_cast<int64_t>(from.size());
    return Status::ok();
  }
  Status begin_read(std::span<std::byte> to, DeviceAddress from) {
    internal_check(covers(from, static_cast<int64_t>(to.size())),
                   "null device: copy past the end of a buffer");
    if (!to.empty()) std::memcpy(to.data(), static_cast<const char*>(from.handle) + from.offset, to.size());
    counters.copied_out_bytes += static_cast<int64_t>(to.size());
    polls_left_ = polls;
    return Status::ok();
  }
  Result<bool> poll() { return polls_left_-- <= 0; }
  Status sync() {
    polls_left_ = 0;
    return Status::ok();
  }

  std::string missing_requirement(const Json&) { return ""; }
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    return static_cast<KernelSet>(new uint64_t(variant.kernel_count));
  }
  void unload_kernels(KernelSet kernels) { delete static_cast<uint64_t*>(kernels); }

  Status submit(KernelSet kernels, std::span<const Launch> launches) {
    check(kernels, launches);
    counters.submits++;
    counters.launches += static_cast<int64_t>(launches.size());
    return Status::ok();
  }
  Result<Recording> record(KernelSet kernels, std::span<const Launch> launches) {
    check(kernels, launches);
    counters.recordings++;
    counters.live_recordings++;
    auto* recorded = new Recorded{static_cast<int64_t>(launches.size()), {}};
    for (const Launch& l : launches)
      recorded->buffers.insert(recorded->buffers.end(), l.buffers.begin(), l.buffers.end());
    return static_cast<Recording>(recorded);
  }
  Status replay(Recording recording) {
    const auto& recorded = *static_cast<const Recorded*>(recording);
    check_buffers(recorded.buffers);
    counters.replays++;
    counters.submits++;
    counters.launches += recorded.launches;
    return Status::ok();
  }
  void release_recording(Recording recording) {
    counters.live_recordings--;
    delete static_cast<Recorded*>(recording);
  }

 private:
  bool covers(DeviceAddress a, int64_t bytes) const {
    auto it = live_.find(a.handle);
    return it != live_.end() && a.offset >= 0 && a.offset + bytes <= it->second;
  }
  void check_buffers(std::span<const DeviceAddress> buffers) const {
    for (const DeviceAddress& a : buffers)
      internal_check(covers(a, a.bytes), "null device: launch with a buffer that is not live or too small");
  }
  void check(KernelSet kernels, std::span<const Launch> launches) const {
    for (const Launch& l : launches) {
      internal_check(l.kernel < *static_cast<uint64_t*>(kernels), "null device: kernel index out of range");
      internal_check(l.tiles >= 0, "null device: negative tile count");
      check_buffers(l.buffers);
    }
  }

  int polls_left_ = 0;             // of the read that was asked for
  std::map<void*, int64_t> live_;  // handle -> bytes
};

NullDevice& of(void* self) { return *static_cast<NullDevice*>(self); }

}  // namespace

Result<DevicePtr> open_null_device(const DeviceOptions&) {
  return device_of(std::make_unique<NullDevice>(), {.name = "null",
                                                    .description = "counts and checks, computes nothing",
                                                    .memory_bytes = int64_t{1} << 40});
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
