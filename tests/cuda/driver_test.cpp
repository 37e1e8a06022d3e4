// The CUDA device on the fake driver, and what the fake driver and its PTX machine reject.
#include <gtest/gtest.h>

#include "cuda/fake_gpu.h"
#include "lang/llvm/emit_ptx.h"
#include "runtime/devices/cuda/cuda.h"
#include "simulate/ptx/machine.h"

namespace mlc::testing {
namespace {

using runtime::DeviceAddress;
using runtime::DevicePtr;
using runtime::KernelSet;
using runtime::Launch;
using runtime::OwnedBuffer;
namespace cuda = runtime::cuda;
using Sentences = std::vector<std::string>;

Target sm80() { return must(targets_for_device("cuda-sm80")).front(); }

kernel::Function warp_function(DeviceCase c) {
  if (c.subgroups) c.subgroups = 32;
  return device_function(c);
}

class Cuda : public ::testing::Test {
 protected:
  void TearDown() override {
    device.reset();
    EXPECT_EQ(driver.alive(), Sentences());
  }
  void expect_complaint(const std::string& part) {
    ASSERT_FALSE(driver.complaints().empty()) << part;
    EXPECT_NE(driver.complaints().back().find(part), std::string::npos) << driver.complaints().back();
  }

  FakeCudaDriver driver;
  DevicePtr device = must(runtime::open_device("cuda"));
};

TEST_F(Cuda, ComputesEveryConstructLikeTheInterpreter) {
  std::vector<DeviceCase> cases = device_cases();
  for (DeviceCase& c : cases)
    if (c.subgroups) c.subgroups = 32;
  expect_constructs(*device, cases, sm80());
  EXPECT_EQ(driver.complaints(), Sentences());
}

TEST_F(Cuda, ReplaysMakeNothing) {
  GpuVariant variant({counting("plus_1", 1), counting("plus_100", 100)}, sm80());
  KernelSet kernels = must(device->load_kernels(device->self, *variant));
  OwnedBuffer a = must(OwnedBuffer::allocate(*device, 4096 + 64)),
              b = must(OwnedBuffer::allocate(*device, 4096));
  const std::vector<DeviceAddress> forth = {a.address(64), b.address()}, back = {b.address(), a.address(64)};
  const std::vector<int64_t> dims = {256};
  const std::vector<Launch> launches = {
      {.kernel = 0, .buffers = forth, .dims = dims, .tiles = 256, .scratch_bytes = 0},
      {.kernel = 1, .buffers = back, .dims = dims, .tiles = 256, .scratch_bytes = 0}};
  runtime::Recording recording = must(device->record(device->self, kernels, launches));
  const runtime::CudaCounters before = cuda_counters(*device);
  for (int i = 0; i < 3; ++i) must(device->replay(device->self, recording));
  const runtime::CudaCounters& after = cuda_counters(*device);
  EXPECT_EQ(after.replays, before.replays + 3);
  EXPECT_EQ(after.launches, before.launches);
  EXPECT_EQ(after.allocations, before.allocations);
  std::vector<int32_t> out(1024);
  must(read(*device, std::as_writable_bytes(std::span(out)), a.address(64)));
  EXPECT_EQ(out, std::vector<int32_t>(1024, 303));
  device->release_recording(device->self, recording);
  device->unload_kernels(device->self, kernels);
  EXPECT_EQ(driver.complaints(), Sentences());
}

// A read arrives only when the stream has come to it, and never makes poll() wait.
TEST_F(Cuda, PollsUntilTheReadHasArrived) {
  OwnedBuffer a = must(OwnedBuffer::allocate(*device, 64));
  const std::vector<int32_t> in(16, 5);
  must(device->copy_in(device->self, a.address(), std::as_bytes(std::span(in))));
  std::vector<int32_t> out(16);
  must(device->begin_read(device->self, std::as_writable_bytes(std::span(out)), a.address()));
  EXPECT_FALSE(must(device->poll(device->self)));
  EXPECT_EQ(out[0], 0);
  EXPECT_TRUE(must(device->poll(device->self)));
  EXPECT_EQ(out, in);
}

TEST_F(Cuda, ManySmallUploadsKeepTheirBytes) {
  OwnedBuffer a = must(OwnedBuffer::allocate(*device, 64 << 10));
  for (int i = 0; i < 40; ++i) {  // 2.5 MiB through 1 MiB of pinned memory
    const std::vector<int32_t> in(16 << 10, i);
    must(device->copy_in(device->self, a.address(), std::as_bytes(std::span(in))));
  }
  std::vector<int32_t> out(16 << 10);
  must(read(*device, std::as_writable_bytes(std::span(out)), a.address()));
  EXPECT_EQ(out, std::vector<int32_t>(16 << 10, 39));
  std::vector<int32_t> large(1 << 20, 7), back(1 << 20);
  OwnedBuffer b = must(OwnedBuffer::allocate(*device, 4 << 20));
  must(device->copy_in(device->self, b.address(), std::as_bytes(std::span(large))));
  must(read(*device, std::as_writable_bytes(std::span(back)), b.address()));
  EXPECT_EQ(back, large);
}

TEST_F(Cuda, SaysWhatItLacks) {
  auto missing = [&](const Json& header) { return device->missing_requirement(device->self, header); };
  EXPECT_EQ(missing({{"kind", "cuda"}, {"requires", {"sm_80"}}}), "");
  EXPECT_EQ(missing({{"kind", "cuda"}, {"requires", {"sm_90"}}}), "a GPU with sm_90");
  EXPECT_EQ(missing({{"kind", "vulkan"}}), "a device of kind vulkan");
  EXPECT_NE(missing({{"kind", "cuda"}, {"limits", {{"shared_bytes", 1 << 20}}}}), "");
}

TEST_F(Cuda, OutOfMemoryIsASentence) {
  auto refused = device->allocate(device->self, int64_t{4} << 30);
  ASSERT_FALSE(refused.is_ok());
  EXPECT_NE(refused.status().message().find("on Fake GPU 0"), std::string::npos)
      << refused.status().message();
}

TEST(CudaDriver, WhatIsMissingIsASentence) {
  const auto expect = expect_no_device<FakeCudaDriver>;
  expect({.missing = {"cuInit"}}, "cuda", "no NVIDIA driver (libcuda.so.1)");
  expect({.version = 11000, .missing = {"cuGraphLaunch"}}, "cuda", "is for CUDA 11.0");
  expect({.version = 12000, .missing = {"cuGraphLaunch"}}, "cuda", "has no cuGraphLaunch");
  expect({.gpus = 0}, "cuda", "finds no GPU");
  expect({.gpus = 2}, "cuda:2", "there is no cuda:2, this machine has cuda:0 to cuda:1");
  expect({.architecture = "sm_70"}, "cuda", "compute capability 7.0, expected 7.5");
}

// Loads one kernel, whose PTX was changed, on a driver of these options.
Status load_status(FakeDriver::Options options, const std::string& from, const std::string& to) {
  FakeCudaDriver driver(std::move(options));
  DevicePtr device = must(runtime::open_device("cuda"));
  std::string ptx = lang::emit_ptx(counting("plus_1", 1), sm80());
  if (!from.empty()) ptx.replace(ptx.find(from), from.size(), to);
  MlcGpuKernel header{.language = static_cast<uint32_t>(GpuLanguage::kPtx),
                      .group_size = 4,
                      .buffer_count = 2,
                      .dim_count = 1};
  const std::string blob = gpu_kernel_blob(header, "plus_1", ptx);
  std::vector<uint64_t> aligned((blob.size() + 7) / 8);
  std::memcpy(aligned.data(), blob.data(), blob.size());
  const void* table[] = {aligned.data()};
  MlcLibraryVariant variant{.kernels = table, .kernel_count = 1};
  auto kernels = device->load_kernels(device->self, variant);
  if (kernels.is_ok()) device->unload_kernels(device->self, *kernels);
  return kernels.status();
}

TEST(CudaDriver, RefusedPtxIsASentence) {
  EXPECT_TRUE(load_status({}, "", "").is_ok());
  auto expect = [](const Status& status, const std::string& part) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  expect(load_status({}, "add.s32", "addd.s32"), "ptxas error: line");
  expect(load_status({}, ".version 7.0", ".version 9.9"), "the PTX is newer than it");
  expect(load_status({}, "plus_1(", "plus_2("), "finds no kernel plus_1");
}

// Calls of the driver that a device must not make: each gives an error and a sentence.
class Calls : public Cuda {
 protected:
  void TearDown() override { device.reset(); }  // what a test makes stays alive, or its context is broken
  const cuda::Api& api = *must(cuda::load_api());
  void expect_refused(cuda::Code code, const std::string& part) {
    EXPECT_NE(code, cuda::kSuccess) << part;
    expect_complaint(part);
  }
  cuda::Stream stream() {
    cuda::Stream made = nullptr;
    EXPECT_EQ(api.stream_create(&made, 0), cuda::kSuccess);
    return made;
  }
};

TEST_F(Calls, OfThingsThatAreNotAliveAreRejected) {
  cuda::Stream s = stream();
  cuda::Pointer memory = 0;
  ASSERT_EQ(api.allocate(&memory, 64), cuda::kSuccess);
  expect_refused(api.release_in_pool(memory, s), "not of the pool");
  ASSERT_EQ(api.release(memory), cuda::kSuccess);
  expect_refused(api.release(memory), "cuMemFree_v2 of memory that is not alive");
  expect_refused(api.module_unload(nullptr), "of a module that is not alive");
  expect_refused(api.graph_launch(nullptr, s), "of a graph that is not alive");
  expect_refused(api.event_query(nullptr), "of an event that is not alive");
  cuda::Function f = nullptr;
  expect_refused(api.launch(f, 1, 1, 1, 4, 1, 1, 0, s, nullptr, nullptr), "of a function that is not loaded");
  ASSERT_EQ(api.stream_destroy(s), cuda::kSuccess);
  expect_refused(api.stream_wait(s), "with a stream that is not alive");
  cuda::Event event = nullptr;
  ASSERT_EQ(api.event_create(&event, 0), cuda::kSuccess);
  expect_refused(api.event_query(event), "never recorded");
  ASSERT_EQ(api.event_destroy(event), cuda::kSuccess);
}

TEST_F(Calls, OutsideOfMemoryAreRejected) {
  cuda::Stream s = stream();
  cuda::Pointer memory = 0;
  ASSERT_EQ(api.allocate(&memory, 64), cuda::kSuccess);
  ASSERT_EQ(api.fill(memory + 32, 0, 64, s), cuda::kSuccess);  // found out late
  EXPECT_NE(api.stream_wait(s), cuda::kSuccess);
  expect_complaint("cuMemsetD8Async of 64 bytes outside of live memory");
  EXPECT_NE(api.stream_wait(s), cuda::kSuccess) << "a context stays broken";
}

TEST_F(Calls, WithoutAContextOrWhileCapturedAreRejected) {
  cuda::Stream s = stream();
  ASSERT_EQ(api.capture_begin(s, 0), cuda::kSuccess);
  cuda::Pointer memory = 0;
  expect_refused(api.allocate(&memory, 64), "while a stream is captured");
  expect_refused(api.stream_wait(s), "while a stream is captured");
  cuda::Graph graph = nullptr;
  ASSERT_EQ(api.capture_end(s, &graph), cuda::kSuccess);
  expect_refused(api.capture_end(s, &graph), "not captured");
  ASSERT_EQ(api.graph_destroy(graph), cuda::kSuccess);
  ASSERT_EQ(api.stream_destroy(s), cuda::kSuccess);
  ASSERT_EQ(api.context_use(nullptr), cuda::kSuccess);
  expect_refused(api.stream_create(&s, 0), "on a thread without a context");
}

TEST_F(Calls, WithAWrongLayoutAreRejected) {
  const std::string ptx = lang::emit_ptx(counting("plus_1", 1), sm80());
  cuda::CodeModule module = nullptr;
  ASSERT_EQ(api.module_load(&module, ptx.c_str(), 0, nullptr, nullptr), cuda::kSuccess);
  expect_wrong_layouts_are_refused(
      api, module, stream(), "kernel plus_1: line",
      [&](cuda::Code code, const std::string& part) { expect_refused(code, part); });
}

// Runs the construct with this change to its PTX; the fault, or "".
std::string fault_of(const std::string& name, const std::string& from, const std::string& to) {
  for (const DeviceCase& c : device_cases()) {
    if (c.name != name) continue;
    std::string text = lang::emit_ptx(warp_function(c), sm80());
    const size_t at = from.empty() ? 0 : text.find(from);
    if (at == text.npos) return "the text has no " + from;
    text.replace(at, from.size(), to);
    return fault_of_call([&](const GridCall& call, const LiveMemory& live, Counts& counts) {
      ptx::parse(text).entries.at(name).run(call, live, counts);
    });
  }
  return "no such construct";
}

void expect_fault(const std::string& fault, const std::string& part) {
  EXPECT_NE(fault.find(part), std::string::npos) << fault;
}

TEST(PtxMachine, RunsWhatIsRight) {
  EXPECT_EQ(fault_of("shared_memory", "", ""), "");
  EXPECT_EQ(fault_of("subgroup_sums", "", ""), "");
}

TEST(PtxMachine, SeesAMissingBarrier) {
  expect_fault(fault_of("shared_memory", "bar.sync \t0;", ""), "without a barrier between");
}

TEST(PtxMachine, SeesABarrierThatNotAllReach) {
  expect_fault(fault_of("shared_memory", "bar.sync \t0;", "@%p1 bar.sync \t0;"),
               "not all lanes of a warp reach");
}

TEST(PtxMachine, SeesAShuffleThatNotAllReach) {
  expect_fault(fault_of("subgroup_sums", "ret;",
                        "mov.u32 %r100, %tid.x;\nsetp.lt.s32 %p100, %r100, 7;\n"
                        "@%p100 shfl.sync.bfly.b32 %f11, %f11, 1, 31, -1;\nret;"),
               "not all lanes of a warp reach");
}

TEST(PtxMachine, SeesWhatLiesOutsideOfMemory) {
  expect_fault(fault_of("loops", "[%rd9], %f9", "[%rd9+4096], %f9"), "outside of live memory");
  expect_fault(fault_of("dimensions", "ld.param.u32", "ld.param.u64"), "a parameter that was not passed");
}

TEST(PtxMachine, SeesAWrongAlignment) {
  expect_fault(fault_of("loops", "add.s64 \t%rd10, %rd7, 8;", "add.s64 \t%rd10, %rd7, 6;"), "is not aligned");
}

TEST(PtxMachine, RefusesWhatItDoesNotKnow) {
  expect_fault(fault_of("loops", "mul.rn.f32", "mul.rp.f32"), "is unknown");
  expect_fault(fault_of("loops", "bra \t$L__BB0_1", "bra \t$L__BB0_9"), "has no label $L__BB0_9");
  expect_fault(fault_of("loops", "ret;", "add.s32 %r1, %r1, 1;"), "has no end");
}

}  // namespace
}  // namespace mlc::testing
