// What the tests of both vendors' fake drivers share: constructs beside the interpreter, their buffers as a
// machine's memory, launches with wrong arguments.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "runtime/devices/cuda/api.h"
#include "simulate/cuda/fake_driver.h"
#include "support/compiled_model.h"
#include "support/device_buffers.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {

// Opening it under a driver of these options fails with this in the sentence.
template <typename Driver>
void expect_no_device(FakeDriver::Options options, const std::string& name, const std::string& part) {
  Driver driver(std::move(options));
  auto device = runtime::open_device(name);
  ASSERT_FALSE(device.is_ok()) << part;
  EXPECT_NE(device.status().message().find(part), std::string::npos) << device.status().message();
}

// Runs the constructs on the device and in the interpreter.
inline void expect_constructs(runtime::Device& device, const std::vector<DeviceCase>& cases,
                              const Target& target) {
  std::vector<kernel::Function> functions;
  for (const DeviceCase& c : cases) functions.push_back(device_function(c));
  GpuVariant variant(functions, target);
  runtime::KernelSet kernels = must(device.load_kernels(device.self, *variant));
  const std::vector<int64_t> dims = {3};
  for (size_t k = 0; k < functions.size(); ++k) {
    SCOPED_TRACE(cases[k].name);
    std::vector<Bytes> expected = case_buffers(), actual = case_buffers();
    std::vector<kernel::HostBuffer> host;
    for (Bytes& b : expected) host.push_back({b.data(), static_cast<int64_t>(b.size())});
    kernel::interpret(functions[k], host, dims);
    must(launch_once(device, kernels, static_cast<uint32_t>(k), actual, dims, 2));
    EXPECT_EQ(actual[4], expected[4]) << "m";
    for (size_t i = 0; i < 64; ++i) {
      const float a = f32_at(actual[3], i), e = f32_at(expected[3], i);
      if (cases[k].tolerance == 0)
        EXPECT_EQ(std::bit_cast<uint32_t>(a), std::bit_cast<uint32_t>(e))
            << i << ": " << a << ", interpreter " << e;
      else
        EXPECT_NEAR(a, e, cases[k].tolerance * (1 + std::abs(e))) << i;
    }
  }
  device.unload_kernels(device.self, kernels);
}

// Two groups of a construct on buffers in live memory, as a machine takes them.
class CaseCall {
 public:
  CaseCall() {
    for (const Bytes& b : case_buffers()) {
      memory_.emplace_back((b.size() + 7) / 8 + 2);
      const uint64_t begin = (reinterpret_cast<uint64_t>(memory_.back().data()) + 15) / 16 * 16;
      std::memcpy(reinterpret_cast<void*>(begin), b.data(), b.size());
      live[begin] = begin + b.size();
      for (int i = 0; i < 8; ++i) call.parameters.push_back(static_cast<uint8_t>(begin >> (8 * i)));
    }
    for (uint8_t b : {3, 0, 0, 0}) call.parameters.push_back(b);
  }
  LiveMemory live;
  GridCall call{.groups = 2, .parameters = {}};

 private:
  std::vector<std::vector<uint64_t>> memory_;
};

// The fault of `run` on such a call, or "".
template <typename Run>
std::string fault_of_call(Run run) {
  CaseCall c;
  Counts counts;
  try {
    run(c.call, c.live, counts);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "";
}

// Launches kernel plus_1 of the module with wrong arguments, each of which gives an error and, by
// expect_refused(code, part), a sentence; at the end one past the end of memory, which breaks the context.
template <typename ExpectRefused>
void expect_wrong_layouts_are_refused(const runtime::cuda::Api& api, runtime::cuda::CodeModule module,
                                      runtime::cuda::Stream s, const std::string& fault,
                                      ExpectRefused expect_refused) {
  namespace cuda = runtime::cuda;
  cuda::Function f = nullptr;
  EXPECT_NE(api.module_function(&f, module, "plus_2"), cuda::kSuccess);
  ASSERT_EQ(api.module_function(&f, module, "plus_1"), cuda::kSuccess);
  cuda::Pointer memory = 0;
  ASSERT_EQ(api.allocate(&memory, 256), cuda::kSuccess);
  uint64_t x = memory, y = memory + 64, odd = memory + 4, rows = 4;
  auto launch = [&](uint64_t* first, uint64_t* second, unsigned groups, unsigned threads) {
    void* parameters[] = {first, second, &rows};
    return api.launch(f, groups, 1, 1, threads, 1, 1, 0, s, parameters, nullptr);
  };
  EXPECT_EQ(launch(&x, &y, 4, 4), cuda::kSuccess);
  EXPECT_EQ(api.stream_wait(s), cuda::kSuccess);
  expect_refused(launch(&rows, &y, 4, 4), "parameter 0 is no address in live memory");
  expect_refused(launch(&x, &odd, 4, 4), "parameter 1 is no multiple of 16");
  expect_refused(launch(&x, &y, 4, 8), "in groups of 8 x 1 x 1 threads, it is made for 4");
  expect_refused(launch(&x, &y, 0, 4), "on 0 x 1 x 1 groups");
  EXPECT_EQ(launch(&x, &y, 4, 4), cuda::kSuccess);
  expect_refused(api.module_unload(module), "while a stream still works");
  ASSERT_EQ(api.stream_wait(s), cuda::kSuccess);
  EXPECT_EQ(launch(&x, &y, 1000, 4), cuda::kSuccess);
  EXPECT_NE(api.stream_wait(s), cuda::kSuccess);
  expect_refused(api.stream_wait(s), fault);
}

}  // namespace mlc::testing
