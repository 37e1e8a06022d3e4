// Buffers of a simulated device in the host's memory: every address is checked, and so is what lies behind a
// buffer. What simulated devices whose steps end at once have in common.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "base/strings.h"
#include "runtime/device.h"

namespace mlc {

// Members as device_of() wants them (runtime/devices/device_of.h). Errors start with `name`.
class HostMemory {
 public:
  static constexpr int64_t kBytes = int64_t{4} << 30;  // toys need some megabytes

  explicit HostMemory(std::string name) : name_(std::move(name)) {}

  Result<runtime::DeviceBuffer> allocate(int64_t bytes) {
    const size_t size = (static_cast<size_t>(std::max<int64_t>(bytes, 0)) + kGuard + 63) / 64 * 64;
    void* memory = bytes < 0 || bytes > kBytes ? nullptr : std::aligned_alloc(64, size);
    if (!memory)
      return problem(str("cannot allocate ", human_bytes(static_cast<double>(bytes)), " of ",
                         human_bytes(static_cast<double>(kBytes))));
    std::memset(memory, 0, static_cast<size_t>(bytes));
    std::memset(static_cast<uint8_t*>(memory) + bytes, kGuardByte, kGuard);
    live_[memory] = bytes;
    return runtime::DeviceBuffer{memory, bytes};
  }
  void release(runtime::DeviceBuffer buffer) {
    internal_check(live_.erase(buffer.handle) == 1, name_, ": release of memory that is not live");
    std::free(buffer.handle);
  }
  Status copy_in(runtime::DeviceAddress to, std::span<const std::byte> from) {
    RETURN_IF_ERROR(check(to, from.size()));
    if (!from.empty()) std::memcpy(pointer(to), from.data(), from.size());
    return Status::ok();
  }
  Status begin_read(std::span<std::byte> to, runtime::DeviceAddress from) {
    RETURN_IF_ERROR(check(from, to.size()));
    if (!to.empty()) std::memcpy(to.data(), pointer(from), to.size());
    return Status::ok();
  }
  Result<bool> poll() { return true; }
  Status sync() { return Status::ok(); }

 protected:
  static uint8_t* pointer(runtime::DeviceAddress a) { return static_cast<uint8_t*>(a.handle) + a.offset; }
  Status problem(const std::string& what) const { return Status::error(name_ + ": " + what); }
  // Bytes from the address to the end of its buffer; negative when there is no such place.
  int64_t left(runtime::DeviceAddress a) const {
    auto it = live_.find(a.handle);
    return it == live_.end() || a.offset < 0 ? -1 : it->second - a.offset;
  }
  // Whether a kernel stored nothing behind the buffer of an address.
  bool guard_is_whole(runtime::DeviceAddress a) const {
    const uint8_t* guard = static_cast<const uint8_t*>(a.handle) + live_.at(a.handle);
    return std::all_of(guard, guard + kGuard, [](uint8_t b) { return b == kGuardByte; });
  }

 private:
  static constexpr size_t kGuard = 64;  // bytes behind each buffer that no kernel may change
  static constexpr int kGuardByte = 0xA5;

  Status check(runtime::DeviceAddress a, size_t bytes) const {
    if (left(a) >= static_cast<int64_t>(bytes)) return Status::ok();
    return problem(str("copy of ", bytes, " bytes past the end of a buffer"));
  }

  std::string name_;
  std::map<void*, int64_t> live_;  // handle -> bytes
};

}  // namespace mlc
