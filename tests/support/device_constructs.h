// Runs the constructs of emit/device_cases.h on a device and compares with the kernel interpreter.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "support/device_buffers.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {

// Runs kernel `index`, which is the case's function: "", or the device's error, or where the two buffers that
// a case writes differ from the interpreter's.
inline std::string difference_from_interpreter(runtime::Device& device, runtime::KernelSet kernels,
                                               uint32_t index, const DeviceCase& c,
                                               const kernel::Function& function) {
  std::vector<Bytes> expected = case_buffers(), actual = case_buffers();
  std::vector<kernel::HostBuffer> host;
  for (Bytes& b : expected) host.push_back({b.data(), static_cast<int64_t>(b.size())});
  const std::vector<int64_t> dims = {3};
  kernel::interpret(function, host, dims);
  const Status status = launch_once(device, kernels, index, actual, dims, 2);
  if (!status.is_ok()) return status.message();
  if (actual[4] != expected[4]) return "m";
  for (size_t i = 0; i < 64; ++i) {
    const float a = f32_at(actual[3], i), e = f32_at(expected[3], i);
    const bool same = c.tolerance == 0 ? std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(e)
                                       : std::abs(a - e) <= c.tolerance * (1 + std::abs(e));
    if (!same) return str("y[", i, "] = ", a, ", the interpreter's ", e);
  }
  return "";
}

// The cases with subgroups of so many threads, without those of subgroups where it is 0.
inline std::vector<DeviceCase> cases_for_subgroups(int threads) {
  std::vector<DeviceCase> cases;
  for (DeviceCase c : device_cases()) {
    if (c.subgroups && !threads) continue;
    if (c.subgroups) c.subgroups = threads;
    cases.push_back(std::move(c));
  }
  return cases;
}

inline void expect_constructs_of_interpreter(runtime::Device& device, const Target& target,
                                             const std::vector<DeviceCase>& cases) {
  std::vector<kernel::Function> functions;
  for (const DeviceCase& c : cases) functions.push_back(device_function(c));
  const GpuVariant variant(functions, target);
  const auto kernels = device.load_kernels(device.self, *variant);
  ASSERT_TRUE(kernels.is_ok()) << kernels.status().message();
  for (size_t k = 0; k < cases.size(); ++k)
    EXPECT_EQ(difference_from_interpreter(device, *kernels, static_cast<uint32_t>(k), cases[k], functions[k]),
              "")
        << cases[k].name;
  device.unload_kernels(device.self, *kernels);
}

}  // namespace mlc::testing
