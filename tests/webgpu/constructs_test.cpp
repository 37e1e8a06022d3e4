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
#include "support/device_constructs.h"

namespace mlc::testing {
namespace {

runtime::DevicePtr open() {
  register_webgpu_simulator(MLC_SOURCE_DIR);
  auto device = runtime::open_device("webgpu");
  EXPECT_TRUE(device.is_ok()) << device.status().message();
  return std::move(device).value();
}

Target software() { return targets_for_device("webgpu-software")->front(); }

TEST(WebGpu, RunsEveryConstructAsTheInterpreter) {
  const runtime::DevicePtr device = open();
  expect_constructs_of_interpreter(*device, software(), cases_for_subgroups(software().subgroup_size));
}

// Loads one construct whose text was changed and runs it: Dawn's error, or where its result differs, or "".
std::string mutant(const runtime::DevicePtr& device, const std::string& name, const std::string& from,
                   const std::string& to) {
  for (const DeviceCase& c : cases_for_subgroups(software().subgroup_size)) {
    if (c.name != name) continue;
    const kernel::Function f = device_function(c);
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
    const std::string seen = difference_from_interpreter(*device, *loaded, 0, c, f);
    device->unload_kernels(device->self, *loaded);
    return seen;
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
