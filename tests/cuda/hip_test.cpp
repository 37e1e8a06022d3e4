// The ROCm device on the fake HIP driver, and what that driver and the machine for AMD's code reject.
#include <gtest/gtest.h>

#include "cuda/fake_gpu.h"
#include "lang/llvm/emit_amdgpu.h"
#include "runtime/devices/cuda/cuda.h"
#include "simulate/amdgpu/code.h"

namespace mlc::testing {
namespace {

using runtime::DevicePtr;
namespace cuda = runtime::cuda;
using Sentences = std::vector<std::string>;

Target target_of(const std::string& architecture) {
  return must(targets_for_device("rocm-" + architecture)).front();
}

// Groups of 32 threads are no wavefront of 64.
std::vector<DeviceCase> cases_of(const Target& target) {
  std::vector<DeviceCase> out;
  for (DeviceCase c : device_cases()) {
    if (c.subgroups && target.subgroup_size != 32) continue;
    if (c.subgroups) c.subgroups = target.subgroup_size;
    out.push_back(c);
  }
  return out;
}

class Hip : public ::testing::TestWithParam<std::string> {
 protected:
  void TearDown() override {
    device.reset();
    EXPECT_EQ(driver.alive(), Sentences());
    EXPECT_EQ(driver.complaints(), Sentences());
  }
  const Target target = target_of(GetParam());
  FakeHipDriver driver{{.architecture = GetParam()}};
  DevicePtr device = must(runtime::open_device("rocm"));
};

TEST_P(Hip, ComputesEveryConstructLikeTheInterpreter) {
  expect_constructs(*device, cases_of(target), target);
}

TEST_P(Hip, SaysWhatItLacks) {
  auto missing = [&](const Json& header) { return device->missing_requirement(device->self, header); };
  EXPECT_EQ(missing({{"kind", "rocm"}, {"requires", {GetParam()}}}), "");
  EXPECT_EQ(missing({{"kind", "rocm"}, {"requires", {"gfx942"}}}), "a GPU with gfx942");
  EXPECT_EQ(missing({{"kind", "cuda"}}), "a device of kind cuda");
  EXPECT_NE(missing({{"kind", "rocm"}, {"limits", {{"shared_bytes", 1 << 20}}}}), "");
}

INSTANTIATE_TEST_SUITE_P(Architectures, Hip, ::testing::Values("gfx906", "gfx1030"),
                         [](const auto& info) { return info.param; });

TEST(HipDriver, WhatIsMissingIsASentence) {
  const auto expect = expect_no_device<FakeHipDriver>;
  expect({.missing = {"hipInit"}}, "rocm", "no HIP (libamdhip64.so)");
  expect({.version = 50700000}, "rocm", "is for ROCm 5.7, expected ROCm 6.0");
  expect({.missing = {"hipGraphLaunch"}}, "rocm", "has no hipGraphLaunch");
  expect({.missing = {"hipGetDevicePropertiesR0600"}}, "rocm", "has no hipGetDevicePropertiesR0600");
  expect({.gpus = 0}, "rocm", "finds no GPU");
  expect({.gpus = 1}, "rocm:1", "there is no rocm:1, this machine has rocm:0");
  expect({.architecture = "gfx803"}, "rocm", "architecture 'gfx803', expected one of gfx906");
}

TEST(HipDriver, DevicesAreListed) {
  FakeHipDriver driver({.architecture = "gfx90a"});
  const std::vector<runtime::ListedDevice> listed = must(runtime::list_rocm_devices());
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[1].name, "rocm:1");
  EXPECT_EQ(listed[1].features[0], "gfx90a");
  EXPECT_NE(listed[1].description.find("driver for ROCm 6.2"), std::string::npos) << listed[1].description;
}

std::string code_object(const kernel::Function& f, const std::string& architecture) {
  const std::string blob = must(link::finish_gpu_kernel(lang::emit_gpu_kernel(f, target_of(architecture))));
  std::vector<uint64_t> aligned((blob.size() + 7) / 8);
  std::memcpy(aligned.data(), blob.data(), blob.size());
  return std::string(must(read_gpu_kernel(aligned.data(), GpuLanguage::kAmdgpu)).code);
}

// Calls of the driver that a device must not make: each gives an error and a sentence.
class HipCalls : public ::testing::Test {
 protected:
  void TearDown() override { device.reset(); }
  void expect_refused(cuda::Code code, const std::string& part) {
    EXPECT_NE(code, cuda::kSuccess) << part;
    ASSERT_FALSE(driver.complaints().empty()) << part;
    EXPECT_NE(driver.complaints().back().find(part), std::string::npos) << driver.complaints().back();
  }
  cuda::Code load(const std::string& image) {
    const std::string padded = image + std::string(64, '\0');
    return api.module_load(&module, padded.data(), 0, nullptr, nullptr);
  }

  FakeHipDriver driver;
  DevicePtr device = must(runtime::open_device("rocm"));
  const cuda::Api& api = *must(cuda::load_api(cuda::kRocmVendor));
  cuda::CodeModule module = nullptr;
};

TEST_F(HipCalls, OfThingsThatAreNotAliveAreRejected) {
  cuda::Stream s = nullptr;
  ASSERT_EQ(api.stream_create(&s, 0), cuda::kSuccess);
  cuda::Pointer memory = 0;
  ASSERT_EQ(api.allocate(&memory, 64), cuda::kSuccess);
  ASSERT_EQ(api.release(memory), cuda::kSuccess);
  expect_refused(api.release(memory), "hipFree of memory that is not alive");
  expect_refused(api.module_unload(nullptr), "hipModuleUnload of a module that is not alive");
  expect_refused(api.graph_launch(nullptr, s), "hipGraphLaunch of a graph that is not alive");
  expect_refused(api.launch(nullptr, 1, 1, 1, 4, 1, 1, 0, s, nullptr, nullptr),
                 "hipModuleLaunchKernel of a function that is not loaded");
  ASSERT_EQ(api.fill(memory, 0, 64, s), cuda::kSuccess);  // found out late
  EXPECT_NE(api.stream_wait(s), cuda::kSuccess);
  expect_refused(api.stream_wait(s), "hipMemsetD8Async of 64 bytes outside of live memory");
  EXPECT_EQ(driver.complaints().size(), 5u) << "what its name is in CUDA is not known here";
}

TEST_F(HipCalls, ImagesThatNoGpuHereRunsAreRejected) {
  EXPECT_EQ(load(code_object(counting("plus_1", 1), "gfx1030")), cuda::kSuccess);
  expect_refused(load(code_object(counting("plus_1", 1), "gfx906")), "of a code object for gfx906");
  expect_refused(load(".version 7.0"), "of what is no code object of version 4");
  std::string other = code_object(counting("plus_1", 1), "gfx1030");
  other[8] = 1;  // version 3
  expect_refused(load(other), "of what is no code object of version 4");
  expect_refused(load(lang::emit_amdgpu(counting("plus_1", 1), target_of("gfx1030"))),
                 "of what is no code object of version 4");  // not linked
}

// Held against the layout that the notes of the code tell.
TEST_F(HipCalls, WithAWrongLayoutAreRejected) {
  cuda::Stream s = nullptr;
  ASSERT_EQ(api.stream_create(&s, 0), cuda::kSuccess);
  ASSERT_EQ(load(code_object(counting("plus_1", 1), "gfx1030")), cuda::kSuccess);
  expect_wrong_layouts_are_refused(
      api, module, s, "outside of live memory",
      [&](cuda::Code code, const std::string& part) { expect_refused(code, part); });
}

TEST_F(HipCalls, WithTooManyThreadsAreRejected) {
  cuda::Stream s = nullptr;
  ASSERT_EQ(api.stream_create(&s, 0), cuda::kSuccess);
  ASSERT_EQ(load(code_object(counting("plus_1", 1), "gfx1030")), cuda::kSuccess);
  cuda::Function f = nullptr;
  ASSERT_EQ(api.module_function(&f, module, "plus_1"), cuda::kSuccess);
  cuda::Pointer memory = 0;
  ASSERT_EQ(api.allocate(&memory, 256), cuda::kSuccess);
  uint64_t x = memory, y = memory + 64, rows = 4;
  void* parameters[] = {&x, &y, &rows};
  expect_refused(api.launch(f, 1u << 30, 1, 1, 4, 1, 1, 0, s, parameters, nullptr),
                 "with more threads than 32 bits count");
}

// Runs this code on the buffers of constructs; the fault, or "".
std::string fault_of(const lang::AmdgpuCode& code) {
  return fault_of_call([&](const GridCall& call, const LiveMemory& live, Counts& counts) {
    amdgpu::kernel_of(code)->run(call, live, counts);
  });
}

// The same of a function with this change to its code, whose text is LLVM's.
std::string fault_of(const kernel::Function& f, const std::string& from, const std::string& to) {
  lang::AmdgpuCode code = lang::take_apart_amdgpu(code_object(f, "gfx1030"));
  std::string all;
  for (auto& [at, text] : code.instructions) {
    all += text + "\n";
    if (const size_t place = text.find(from); place != text.npos) {
      text.replace(place, from.size(), to);
      return fault_of(code);
    }
  }
  return "the code has no " + from + ":\n" + all;
}

kernel::Function construct(const std::string& name) {
  for (const DeviceCase& c : cases_of(target_of("gfx1030")))
    if (c.name == name) return device_function(c);
  throw std::runtime_error("no construct " + name);
}

// Two wavefronts of a group, which read what the other has stored.
kernel::Function two_wavefronts() {
  return kernel::unify_accesses(kernel::narrow_indices(kernel::parse(
      "kernel @wide(%x: f32[64], %k: i32[64], %h: u32[64], %y: out f32[64], %m: out i32[64]) dims(rows) "
      "tiles(1) scratch(0) { grid %g = 0, 1 { shared %a: f32[64] thread %t = 0, 64 { %a[%t] = %x[%t] barrier "
      "%y[%t] = %a[(63 - %t)] } } }")));
}

void expect_fault(const std::string& fault, const std::string& part) {
  EXPECT_NE(fault.find(part), std::string::npos) << fault;
}

TEST(AmdgpuMachine, RunsWhatIsRight) {
  EXPECT_EQ(fault_of(construct("shared_memory"), "", ""), "");
  EXPECT_EQ(fault_of(construct("subgroup_sums"), "", ""), "");
}

TEST(AmdgpuMachine, SeesAMissingBarrier) {
  expect_fault(fault_of(two_wavefronts(), "s_barrier", "s_nop 0"), "without a barrier between");
}

TEST(AmdgpuMachine, SeesABarrierThatNotAllReach) {
  lang::AmdgpuCode code = lang::take_apart_amdgpu(code_object(two_wavefronts(), "gfx1030"));
  code.instructions = {{0, "v_readfirstlane_b32 s0, v0"},
                       {4, "s_cmp_eq_u32 s0, 0"},
                       {8, "s_cbranch_scc0 1"},
                       {12, "s_barrier"},
                       {16, "s_endpgm"}};
  expect_fault(fault_of(code), "1 of 2 warps wait at a barrier that the others never reach");
  code.instructions[2].text = "s_cbranch_scc0 0";
  EXPECT_EQ(fault_of(code), "");
  code.instructions[2].text = "s_cbranch_scc0 9";
  expect_fault(fault_of(code), "'s_cbranch_scc0 9' goes to no instruction");
}

TEST(AmdgpuMachine, SeesALaneThatDoesNotRun) {
  expect_fault(fault_of(construct("subgroup_sums"), "row_xmask:8", "row_xmask:40"), "which does not run");
}

TEST(AmdgpuMachine, SeesWhatLiesOutsideOfMemory) {
  expect_fault(fault_of(construct("loops"), "global_store_dword", "global_store_dwordx4"),
               "an access of 16 bytes outside of live memory");
  expect_fault(fault_of(construct("loops"), ", 0x18", ", 0x28"), "an access of 8 bytes outside");
}

TEST(AmdgpuMachine, RefusesWhatItDoesNotKnow) {
  expect_fault(fault_of(construct("loops"), "v_mul_f32_e32", "v_mul_legacy_f32_e32"), "is unknown");
  expect_fault(fault_of(construct("subgroup_sums"), "bank_mask:0xf", "bank_mask:0x3"),
               "has a modifier that is unknown: bank_mask:0x3");
  expect_fault(fault_of(construct("loops"), "s_endpgm", "s_nop 0"), "has no end");
}

}  // namespace
}  // namespace mlc::testing
