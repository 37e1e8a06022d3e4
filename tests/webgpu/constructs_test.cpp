// WGSL on Dawn: every construct of device functions gives the interpreter's bits, mutants of the dialect are
// seen, and what Dawn would refuse is refused.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "base/target/target.h"
#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "lang/wgsl/dialect.h"
#include "runtime/devices/registry.h"
#include "simulate/webgpu_device.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {
namespace {

runtime::DevicePtr open() {
  register_webgpu_simulator(MLC_SOURCE_DIR);
  auto device = runtime::open_device("webgpu");
  EXPECT_TRUE(device.is_ok()) << device.status().message();
  return std::move(device).value();
}

Target software() { return targets_for_device("webgpu-software")->front(); }

std::vector<Bytes> case_memory() {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> real(-8, 8);
  std::vector<Bytes> all(5, Bytes(256));
  for (size_t i = 0; i < 64; ++i) {
    const float x = real(random);
    const auto n = static_cast<int32_t>(random()) >> 8;
    const uint32_t u = static_cast<uint32_t>(random());
    std::memcpy(&all[0][4 * i], &x, 4);
    std::memcpy(&all[1][4 * i], &n, 4);
    std::memcpy(&all[2][4 * i], &u, 4);
  }
  return all;
}

float f32_at(const Bytes& bytes, size_t i) {
  float f;
  std::memcpy(&f, &bytes[4 * i], 4);
  return f;
}

kernel::Function function_of(DeviceCase c) {
  if (c.subgroups) c.subgroups = software().subgroup_size;
  return device_function(c);
}

// "" or where the two parts of memory that a case writes differ.
std::string difference(const DeviceCase& c, const std::vector<Bytes>& actual,
                       const std::vector<Bytes>& expected) {
  if (actual[4] != expected[4]) return "m";
  for (size_t i = 0; i < 64; ++i) {
    const float a = f32_at(actual[3], i), e = f32_at(expected[3], i);
    const bool same = c.tolerance == 0 ? std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(e)
                                       : std::abs(a - e) <= c.tolerance * (1 + std::abs(e));
    if (!same) return str("y[", i, "] = ", a, ", the interpreter's ", e);
  }
  return "";
}

TEST(WebGpu, RunsEveryConstructAsTheInterpreter) {
  const runtime::DevicePtr device = open();
  std::vector<kernel::Function> functions;
  for (const DeviceCase& c : device_cases()) functions.push_back(function_of(c));
  GpuVariant variant(functions, software());
  auto loaded = device->load_kernels(device->self, *variant);
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
  for (size_t k = 0; k < functions.size(); ++k) {
    SCOPED_TRACE(functions[k].name);
    std::vector<Bytes> expected = case_memory(), actual = expected;
    std::vector<kernel::HostBuffer> host;
    for (Bytes& b : expected) host.push_back({b.data(), static_cast<int64_t>(b.size())});
    const std::vector<int64_t> dims = {3};
    kernel::interpret(functions[k], host, dims);
    const Status status = launch_once(*device, *loaded, static_cast<uint32_t>(k), actual, dims, 2);
    ASSERT_TRUE(status.is_ok()) << status.message();
    EXPECT_EQ(difference(device_cases()[k], actual, expected), "");
  }
  device->unload_kernels(device->self, *loaded);
}

// Loads one construct whose text was changed and runs it: Dawn's error, or where its result differs, or "".
std::string mutant(const runtime::DevicePtr& device, const std::string& name, const std::string& from,
                   const std::string& to) {
  for (const DeviceCase& c : device_cases()) {
    if (c.name != name) continue;
    const kernel::Function f = function_of(c);
    std::string text = lang::print_wgsl(f);
    const size_t at = text.find(from);
    if (at == text.npos) return "";
    text.replace(at, from.size(), to);
    const MlcGpuKernel header{.language = static_cast<uint32_t>(GpuLanguage::kWgsl),
                              .group_size = 32,
                              .buffer_count = 5,
                              .dim_count = 1,
                              .written = 24};
    const std::string blob = gpu_kernel_blob(header, name, text);
    std::vector<uint64_t> aligned((blob.size() + 7) / 8);
    std::memcpy(aligned.data(), blob.data(), blob.size());
    const void* table[] = {aligned.data()};
    const MlcLibraryVariant variant{.kernels = table, .kernel_count = 1};
    auto loaded = device->load_kernels(device->self, variant);
    if (!loaded.is_ok()) return loaded.status().message();
    std::vector<Bytes> expected = case_memory(), actual = expected;
    std::vector<kernel::HostBuffer> host;
    for (Bytes& b : expected) host.push_back({b.data(), static_cast<int64_t>(b.size())});
    const std::vector<int64_t> dims = {3};
    kernel::interpret(f, host, dims);
    const Status status = launch_once(*device, *loaded, 0, actual, dims, 2);
    device->unload_kernels(device->self, *loaded);
    return status.is_ok() ? difference(c, actual, expected) : status.message();
  }
  return "";
}

struct Mutant {
  std::string name, from, to, seen;  // part of what is seen
};

TEST(WebGpu, MutantsOfTheDialectDie) {
  const std::vector<Mutant> mutants = {
      {"int_bits", "<< u32(3i)", "<< 3i", "no matching"},
      {"int_bits", ">> u32(5i)", ">> u32(4i)", "m"},
      {"booleans", "!=", "==", "m"},
      {"compare_floats", "select(0.0f, 1.0f", "select(1.0f, 0.0f", "y["},
      {"float_unary", "round(", "ceil(", "y["},
      {"halves", "unpack2x16float", "unpack2x16unorm", "y["},
      {"shared_memory", "@builtin(workgroup_id) group_at", "@builtin(num_workgroups) group_at", ""},
      {"dimensions", "dims_at.rows_", "(dims_at.rows_ + 1)", ""},
      {"subgroup_sums", "subgroupAdd", "subgroupMax", "y["},
      {"subgroup_sums", "enable subgroups;", "", "extension"},
      {"shared_memory", "var<workgroup>", "var<private>", "y["},
  };
  const runtime::DevicePtr device = open();
  for (const Mutant& m : mutants) {
    const std::string seen = mutant(device, m.name, m.from, m.to);
    EXPECT_NE(seen, "") << m.name << ": " << m.from << " -> " << m.to << " lives";
    EXPECT_NE(seen.find(m.seen), std::string::npos) << m.name << ": " << m.from << ": " << seen;
  }
}

// A barrier that not all threads of a group reach, in the words of WGSL's uniformity analysis.
TEST(WebGpu, BarriersInControlFlowThatIsNotUniformAreRefused) {
  const runtime::DevicePtr device = open();
  const std::string seen = mutant(device, "shared_memory", "storageBarrier();",
                                  "if (thread_at == 1u) { workgroupBarrier(); } storageBarrier();");
  EXPECT_NE(seen.find("uniform control flow"), std::string::npos) << seen;
}

TEST(WebGpu, WhatIsNotLiveIsRefused) {
  const runtime::DevicePtr device = open();
  EXPECT_FALSE(device->allocate(device->self, int64_t{1} << 60).is_ok());
  auto buffer = runtime::OwnedBuffer::allocate(*device, 64).value();
  std::vector<std::byte> bytes(65);
  EXPECT_FALSE(device->copy_in(device->self, buffer.address(), bytes).is_ok());
  EXPECT_FALSE(runtime::read(*device, bytes, buffer.address()).is_ok());
}

}  // namespace
}  // namespace mlc::testing
