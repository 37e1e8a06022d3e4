// A CPU device whose memory is full of NaN wherever nothing was stored: unused pages, unwritten buffers and,
// before every submission, the arena. 0xFF bytes are a NaN in every float type and -1 in every integer.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/devices/registry.h"
#include "support/forwarding_device.h"

namespace mlc::testing {

class PoisonedDevice {
 public:
  static Result<runtime::DevicePtr> open(int threads) {
    ASSIGN_OR_RETURN(runtime::DevicePtr inner, runtime::open_device("cpu", {.threads = threads}));
    auto* poisoned = new PoisonedDevice(std::move(inner));
    auto* device = new runtime::Device(forwarding<PoisonedDevice>(*poisoned->inner_));
    device->self = poisoned;
    device->allocate = allocate;
    device->submit = submit;
    return runtime::DevicePtr(device);
  }

  // Call when a model is loaded: its last allocation is the arena.
  static void arena_is_allocated(const runtime::Device& device) {
    auto* self = static_cast<PoisonedDevice*>(device.self);
    self->arena_ = self->allocated_.back();
  }
  // The first allocations in a row that have these sizes.
  static std::span<const runtime::DeviceBuffer> find(const runtime::Device& device,
                                                     const std::vector<int64_t>& sizes) {
    const auto& all = static_cast<PoisonedDevice*>(device.self)->allocated_;
    const auto has_size = [](const runtime::DeviceBuffer& b, int64_t bytes) { return b.bytes == bytes; };
    const auto found = std::search(all.begin(), all.end(), sizes.begin(), sizes.end(), has_size);
    return std::span(all).subspan(static_cast<size_t>(found - all.begin()), sizes.size());
  }

  static const runtime::Device& inner_of(void* self) { return in(self); }

 private:
  explicit PoisonedDevice(runtime::DevicePtr inner) : inner_(std::move(inner)) {}
  static const runtime::Device& in(void* self) { return *static_cast<PoisonedDevice*>(self)->inner_; }

  static Result<runtime::DeviceBuffer> allocate(void* self, int64_t bytes) {
    ASSIGN_OR_RETURN(runtime::DeviceBuffer buffer, in(self).allocate(in(self).self, bytes));
    std::memset(buffer.handle, 0xFF, static_cast<size_t>(bytes));
    static_cast<PoisonedDevice*>(self)->allocated_.push_back(buffer);
    return buffer;
  }

  static Status submit(void* self, runtime::KernelSet kernels, std::span<const runtime::Launch> launches) {
    const runtime::DeviceBuffer& arena = static_cast<PoisonedDevice*>(self)->arena_;
    if (arena.handle) std::memset(arena.handle, 0xFF, static_cast<size_t>(arena.bytes));
    return in(self).submit(in(self).self, kernels, launches);
  }

  runtime::DevicePtr inner_;
  std::vector<runtime::DeviceBuffer> allocated_;  // released ones too
  runtime::DeviceBuffer arena_;
};

}  // namespace mlc::testing
