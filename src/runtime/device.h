// A device as a struct of functions: memory, kernels, submission. Filled by devices/<name>/; chosen through
// devices/registry.h. Functions marked (optional) may be null; callers ask before they call.
//
// Threads: one thread drives a device at a time. Errors: Status with the device's name in front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "formats/library.h"

namespace mlc::runtime {

// Memory on a device. On the CPU `handle` is the address.
struct DeviceBuffer {
  void* handle = nullptr;
  int64_t bytes = 0;
};

struct DeviceAddress {
  void* handle = nullptr;
  int64_t offset = 0;  // bytes
  int64_t bytes = 0;   // that a kernel it is bound to may touch from there on; 0: not said
};

// One kernel call, fully resolved. The spans must live until submit() returns.
struct Launch {
  uint32_t kernel = 0;
  std::span<const DeviceAddress> buffers;
  std::span<const int64_t> dims;
  int64_t tiles = 0;
  int64_t scratch_bytes = 0;  // per thread
};

struct DeviceProperties {
  std::string name;          // "cpu", "null"
  std::string description;   // for people: "8 threads, avx2 fma f16c"
  int64_t memory_bytes = 0;  // usable in all
  int threads = 1;
  bool host_memory = false;          // addresses are host pointers: copies can be avoided
  int64_t max_allocation_bytes = 0;  // of one buffer; 0 = memory_bytes
  int64_t max_binding_bytes = 0;     // of one tensor that a kernel reads or writes; 0 = no bound
};

// Kernels of one library variant, loaded on a device.
using KernelSet = void*;

// Launches prepared once and run many times.
using Recording = void*;

struct Device {
  DeviceProperties properties;
  void* self = nullptr;

  // Zeroed memory, aligned to 64 bytes. Error when there is not enough.
  Result<DeviceBuffer> (*allocate)(void* self, int64_t bytes) = nullptr;
  void (*release)(void* self, DeviceBuffer buffer) = nullptr;
  Status (*copy_in)(void* self, DeviceAddress to, std::span<const std::byte> from) = nullptr;
  // Asks for bytes, maybe none, as they are once everything submitted has run, one read at a time; `to` must
  // live until poll() gave true.
  Status (*begin_read)(void* self, std::span<std::byte> to, DeviceAddress from) = nullptr;
  // Whether all of it has run and they have arrived; true where nothing was asked for. Never waits. Errors
  // are also those of launches.
  Result<bool> (*poll)(void* self) = nullptr;

  // "" when this device can run a variant with that header, else the first thing it lacks ("CPU feature
  // avx2").
  std::string (*missing_requirement)(void* self, const Json& header) = nullptr;
  Result<KernelSet> (*load_kernels)(void* self, const MlcLibraryVariant& variant) = nullptr;
  void (*unload_kernels)(void* self, KernelSet kernels) = nullptr;

  // Runs the launches in order; each sees all stores of those before it. May return before they have run.
  Status (*submit)(void* self, KernelSet kernels, std::span<const Launch> launches) = nullptr;
  // Waits until everything submitted has run.
  Status (*sync)(void* self) = nullptr;

  // (optional, all three) replay(record(launches)) does what submit(launches) does, and replay() makes
  // nothing: no memory, no pipeline, no command buffer. The launches' spans need not outlive record(); the
  // buffers they name must outlive the recording, whose contents may change between replays.
  Result<Recording> (*record)(void* self, KernelSet kernels, std::span<const Launch> launches) = nullptr;
  Status (*replay)(void* self, Recording recording) = nullptr;
  void (*release_recording)(void* self, Recording recording) = nullptr;
  void (*destroy)(void* self) = nullptr;
};

// begin_read() and all the waiting.
inline Status read(Device& device, std::span<std::byte> to, DeviceAddress from) {
  RETURN_IF_ERROR(device.begin_read(device.self, to, from));
  for (;;) {
    ASSIGN_OR_RETURN(bool arrived, device.poll(device.self));
    if (arrived) return Status::ok();
    RETURN_IF_ERROR(device.sync(device.self));
  }
}

}  // namespace mlc::runtime
