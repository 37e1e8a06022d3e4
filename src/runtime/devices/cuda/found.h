// The GPUs of the CUDA driver and what they have.
#pragma once

#include <string>
#include <vector>

#include "runtime/devices/cuda/api.h"

namespace mlc::runtime::cuda {

struct Found {
  DeviceNumber device = 0;
  std::string name;
  int architecture = 0;               // 86 = compute capability 8.6
  int processors = 0;                 // multiprocessors
  int64_t memory_bytes = 0;           // in all
  int64_t shared_bytes = 0;           // that a group may declare
  bool pools = false;                 // memory comes from the driver's pool
  std::vector<std::string> features;  // in the names of Target::required: "sm_75", "sm_80", ...
};

// In the driver's order: the numbers of cuda:0, cuda:1.
Result<std::vector<Found>> find_devices(const Api& api);

// The driver's version: "13.0".
std::string driver_text(const Api& api);

}  // namespace mlc::runtime::cuda
