// The OpenCL devices of this machine and what they have.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "runtime/devices/opencl/api.h"

namespace mlc::runtime::opencl {

struct Found {
  cl_platform_id platform = nullptr;
  cl_device_id device = nullptr;
  cl_device_type type = 0;
  std::string name, vendor, version, driver;  // for people; and together the identity of compiled programs
  std::set<std::string> features;  // in the names of Target::required: "software", "vendor_nvidia", ...
  int64_t memory_bytes = 0, max_buffer_bytes = 0, shared_bytes = 0, group_size = 0;
  bool exact_division = false;  // can build with correctly rounded division and square root
  bool keeps_programs =
      false;  // the driver has a cache of its own, and gives its binaries at the price of compiling again
};

// GPUs first, then accelerators, then CPUs, each kind in the drivers' order: the numbers of `opencl:0`,
// `opencl:1`. Error: no device, and what to install.
Result<std::vector<Found>> find_devices(const Api& api);

}  // namespace mlc::runtime::opencl
