// The simulated Metal device: every construct of device functions in MSL gives the interpreter's bits, and
// what a real device or its compiler would refuse is refused.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "base/half.h"
#include "base/target/target.h"
#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "kernel/verify.h"
#include "runtime/devices/registry.h"
#include "simulate/metal_device.h"
#include "support/device_constructs.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {
namespace {

runtime::DevicePtr open() {
  register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
  return runtime::open_device("metal").value();
}

Target apple() { return targets_for_device("metal-apple")->at(1); }

TEST(Metal, RunsEveryConstructAsTheInterpreter) {
  const runtime::DevicePtr device = open();
  expect_constructs_of_interpreter(*device, apple(), cases_for_subgroups(32));
}

// Halves of small whole numbers: every sum is exact, whatever its order.
TEST(Metal, MatricesOfASimdGroupAreTheInterpreters) {
  const kernel::Function f = kernel::unify_accesses(kernel::narrow_indices(kernel::parse(
      "kernel @matrix(%x: u32[64], %y: out f32[64]) dims() tiles(1) scratch(0) subgroups(32) { grid %g = 0, "
      "1 { "
      "shared %left: u32x4[8] shared %right: u32x2[16] shared %sums: f32[64] thread %t = 0, 32 { "
      "fragments %a: a f16 8 by 8[1] fragments %b: b f16 8 by 8[2] fragments %c: sum f32 8 by 8[1] "
      "if (%t < 8) { %left[%t] = %x[(%t * 4)]:u32x4 } if (%t < 16) { %right[%t] = %x[((%t * 2) + 32)]:u32x2 "
      "} "
      "matrix clear %c[0] barrier serial %i = 0, 2 { matrix load %a[0] from %left[0] rows 1 "
      "matrix load %b[1] from %right[0] columns 2 matrix add %c[0] %a[0] by %b[1] } "
      "matrix store %c[0] to %sums[0] rows 8 barrier %y[%t] = %sums[%t] %y[(%t + 32)] = %sums[(%t + 32)] } } "
      "}")));
  ASSERT_EQ(kernel::verify(f), "");
  std::vector<Bytes> expected = {Bytes(256), Bytes(256)};
  for (size_t i = 0; i < 128; ++i) {
    const uint16_t half = f32_to_f16(float(i * 7 % 17) - 8);
    std::memcpy(&expected[0][2 * i], &half, 2);
  }
  std::vector<Bytes> actual = expected;
  std::vector<kernel::HostBuffer> host;
  for (Bytes& b : expected) host.push_back({b.data(), 256});
  kernel::interpret(f, host, std::vector<int64_t>{});
  const runtime::DevicePtr device = open();
  GpuVariant variant({f}, targets_for_device("metal-apple")->front());
  auto loaded = device->load_kernels(device->self, *variant);
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
  const Status status = launch_once(*device, *loaded, 0, actual, {}, 1);
  EXPECT_TRUE(status.is_ok()) << status.message();
  EXPECT_EQ(actual, expected);
  EXPECT_NE(f32_at(actual[1], 9), 0);
  device->unload_kernels(device->self, *loaded);
}

// The code of a library that holds one kernel with this text.
std::string error_of(const std::string& body, int64_t bytes) {
  const runtime::DevicePtr device = open();
  const std::string text =
      "#include <metal_stdlib>\nusing namespace metal;\nkernel void k(device float* y [[buffer(0)]], "
      "constant int* d, uint3 g, uint t) {\n" +
      body + "\n}\n";
  const MlcGpuKernel header{
      .language = static_cast<uint32_t>(GpuLanguage::kMetal), .group_size = 32, .buffer_count = 1};
  const std::string blob = gpu_kernel_blob(header, "k", text);
  std::vector<uint64_t> aligned((blob.size() + 7) / 8);
  std::memcpy(aligned.data(), blob.data(), blob.size());
  const void* table[] = {aligned.data()};
  MlcLibraryVariant variant{};
  variant.kernels = table;
  variant.kernel_count = 1;
  auto loaded = device->load_kernels(device->self, variant);
  if (!loaded.is_ok()) return loaded.status().message();
  std::vector<Bytes> memory = {Bytes(static_cast<size_t>(bytes))};
  const Status status = launch_once(*device, *loaded, 0, memory, {}, 1);
  device->unload_kernels(device->self, *loaded);
  return status.is_ok() ? "" : status.message();
}

TEST(Metal, SimulatorRefusesWhatIsWrong) {
  EXPECT_EQ(error_of("y[t] = float(t);", 128), "");
  auto expect = [](const std::string& got, const char* part) {
    EXPECT_NE(got.find(part), std::string::npos) << got;
  };
  expect(error_of("y[t] = simd_average(1.0f);", 128), "simd_average");
  expect(error_of("y[t] = float4(1.0f);", 128), "clang does not accept");
  expect(error_of("y[t] = 1.0f;", 64), "store past the end");
  expect(error_of("if (t < 8) threadgroup_barrier(mem_flags::mem_device); y[t] = 1.0f;", 128),
         "part at a barrier");
  // Every thread sees what the others stored before a barrier, and a group's array is one.
  EXPECT_EQ(
      error_of("  threadgroup float a[32];\n  a[t] = float(t); "
               "threadgroup_barrier(mem_flags::mem_threadgroup); if (a[31 - t] != float(31 - t)) y[99] = 1;",
               128),
      "");
}

// A library for Metal holds a variant for devices without SIMD-groups, and refuses other devices by name.
TEST(Metal, EveryVariantSaysWhatItNeeds) {
  const runtime::DevicePtr device = open();
  const std::vector<Target> targets = targets_for_device("metal").value();
  EXPECT_TRUE(targets.back().required.empty());
  for (const Target& t : targets)
    EXPECT_EQ(device->missing_requirement(device->self, {{"kind", t.kind}, {"requires", t.required}}), "")
        << t.name;
  EXPECT_EQ(device->missing_requirement(device->self, {{"kind", "vulkan"}}), "a device of kind vulkan");
}

}  // namespace
}  // namespace mlc::testing
