// Owning device memory: released when destroyed, usable where a DeviceAddress is.
#pragma once

#include <utility>

#include "runtime/device.h"

namespace mlc::runtime {

class OwnedBuffer {
 public:
  OwnedBuffer() = default;
  static Result<OwnedBuffer> allocate(Device& device, int64_t bytes) {
    ASSIGN_OR_RETURN(DeviceBuffer buffer, device.allocate(device.self, bytes));
    OwnedBuffer owned;
    owned.device_ = &device;
    owned.buffer_ = buffer;
    return owned;
  }
  OwnedBuffer(OwnedBuffer&& other) noexcept { *this = std::move(other); }
  OwnedBuffer& operator=(OwnedBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~OwnedBuffer() {
    if (device_) device_->release(device_->self, buffer_);
  }

  DeviceAddress address(int64_t offset = 0) const { return {buffer_.handle, offset, buffer_.bytes - offset}; }
  int64_t bytes() const { return buffer_.bytes; }

 private:
  Device* device_ = nullptr;
  DeviceBuffer buffer_;
};

}  // namespace mlc::runtime
