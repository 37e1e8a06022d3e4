// The GPUs of a driver and what they have.
#pragma once

#include <string>
#include <vector>

#include "runtime/devices/cuda/api.h"

namespace mlc::runtime::cuda {

struct Found {
  DeviceNumber device = 0;
  std::string name;
  std::string architecture;           // for people: "compute capability 8.6", "gfx1100"
  int processors = 0;                 // multiprocessors, compute units
  int64_t memory_bytes = 0;           // in all
  int64_t shared_bytes = 0;           // that a group may declare
  bool pools = false;                 // memory comes from the driver's pool
  std::vector<std::string> features;  // in the names of Target::required: "sm_75", "sm_80", ...; "gfx1100"
  std::string unsupported;            // "": kernels are made for it; else what it has and what is expected
};

// The GPUs of either driver, in its order: the numbers of cuda:0, cuda:1.
Result<std::vector<Found>> find_devices(const Api& api);
// Fills architecture, features and unsupported.
void describe_cuda(const Api& api, Found& f);
void describe_rocm(const Api& api, Found& f);

}  // namespace mlc::runtime::cuda
