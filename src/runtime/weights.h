// The weights of a model on a device: each parameter of the plan in its physical layout, made from the
// records of a weights folder by the library's preproc kernels, one tensor at a time (memory never holds both
// copies whole).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/shards.h"
#include "runtime/memory.h"
#include "runtime/module.h"

namespace mlc::runtime {

// Called with the bytes of each weight once it is loaded; they add up to MemoryPlan::weights.
using LoadProgress = std::function<void(int64_t)>;

class WeightBuffers {
 public:
  // Errors: no index in the folder; a tensor that the library wants is missing, or has another shape or dtype
  // (file, tensor, found, expected, nearest name); one that is too large for the device to bind; not enough
  // memory.
  static Result<std::unique_ptr<WeightBuffers>> load(const Module& module, const std::string& folder,
                                                     const LoadProgress& progress = {});

  // One address per weight of the plan, in its order.
  const std::vector<DeviceAddress>& addresses() const { return addresses_; }

 private:
  std::vector<OwnedBuffer> buffers_;  // as few as the device's largest allocation allows
  std::vector<DeviceAddress> addresses_;
};

}  // namespace mlc::runtime
