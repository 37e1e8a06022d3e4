// The null device: allocates, counts and checks like a real one, computes nothing. Plans, memory and
// schedulers are tested on it; it is also the smallest complete example of a device.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

Result<DevicePtr> open_null_device(const DeviceOptions& options);

// What a null device has seen.
struct NullCounters {
  int64_t allocations = 0, live_bytes = 0, peak_bytes = 0;
  int64_t submits = 0, launches = 0, copied_in_bytes = 0,
          copied_out_bytes = 0;  // submits and launches: replays too
  int64_t recordings = 0, live_recordings = 0, replays = 0;
};
const NullCounters& null_counters(const Device& device);

// From now on a read arrives after this many polls, or a sync: as on a device that works beside the host.
void set_null_polls(Device& device, int polls);

}  // namespace mlc::runtime
