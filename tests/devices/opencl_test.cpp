// The OpenCL device: every construct of device functions against the kernel interpreter, the cache of
// compiled programs, recordings, errors. Skipped where there is no OpenCL driver.
#include "runtime/devices/opencl/opencl.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/file.h"
#include "base/strings.h"
#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "runtime/devices/opencl/program.h"
#include "runtime/devices/probe.h"
#include "support/compiled_model.h"
#include "support/device_constructs.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {
namespace {

using runtime::Device;
using runtime::DeviceAddress;
using runtime::DevicePtr;
using runtime::KernelSet;
using runtime::Launch;
using runtime::OpenClCounters;
using runtime::OwnedBuffer;

Target any_opencl() { return must(targets_for_device("opencl")).back(); }

// A device whose cache of programs is a folder of the test's own.
class OpenCl : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("MLC_LLM_HOME", home.path().c_str(), 1);
    device = open();
  }
  void TearDown() override { ::unsetenv("MLC_LLM_HOME"); }
  static DevicePtr open() { return must(runtime::open_device("opencl")); }
  const OpenClCounters& counters() const { return opencl_counters(*device); }

  TempFolder home;
  DevicePtr device;
};

TEST_F(OpenCl, ComputesEveryConstructLikeTheInterpreter) {
  expect_constructs_of_interpreter(*device, any_opencl(), cases_for_subgroups(0));  // OpenCL C 1.2 has none
}

TEST_F(OpenCl, RunsMoreGroupsThanSixteenBitsCount) {
  GpuVariant variant({counting("plus_1", 1)}, any_opencl());
  KernelSet kernels = must(device->load_kernels(device->self, *variant));
  const int64_t rows = 70000;
  std::vector<int32_t> x(static_cast<size_t>(4 * rows) + 16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int32_t>(i);
  std::vector<Bytes> buffers = {bytes_of(x), bytes_of(std::vector<int32_t>(x.size(), -7))};
  must(launch_once(*device, kernels, 0, buffers, {rows}, rows));
  for (size_t i = 0; i < x.size(); ++i) x[i] = i < x.size() - 16 ? x[i] + 1 : -7;
  EXPECT_EQ(buffers[1], bytes_of(x));
  device->unload_kernels(device->self, kernels);
}

TEST_F(OpenCl, ReplaysSetNoArgumentsAndMakeNothing) {
  GpuVariant variant({counting("plus_1", 1), counting("plus_100", 100)}, any_opencl());
  KernelSet kernels = must(device->load_kernels(device->self, *variant));
  OwnedBuffer a = must(OwnedBuffer::allocate(*device, 4096 + 64)),
              b = must(OwnedBuffer::allocate(*device, 4096));
  const std::vector<DeviceAddress> forth = {a.address(64), b.address()}, back = {b.address(), a.address(64)};
  const std::vector<int64_t> dims = {256};
  const std::vector<Launch> launches = {
      {.kernel = 0, .buffers = forth, .dims = dims, .tiles = 256, .scratch_bytes = 0},
      {.kernel = 1, .buffers = back, .dims = dims, .tiles = 256, .scratch_bytes = 0}};
  runtime::Recording recording = must(device->record(device->self, kernels, launches));
  const OpenClCounters before = counters();
  for (int i = 0; i < 10; ++i) must(device->replay(device->self, recording));
  std::vector<int32_t> out(1024);
  must(runtime::read(*device, std::as_writable_bytes(std::span(out)), a.address(64)));
  EXPECT_EQ(out, std::vector<int32_t>(1024, 1010));
  const OpenClCounters after = counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.kernels, before.kernels);
  EXPECT_EQ(after.arguments_set, before.arguments_set);
  EXPECT_EQ(after.recordings, before.recordings);
  EXPECT_EQ(after.launches, before.launches + 20);
  device->release_recording(device->self, recording);

  // submit() sets only what changed.
  must(device->submit(device->self, kernels, launches));
  const int64_t set = counters().arguments_set;
  must(device->submit(device->self, kernels, launches));
  EXPECT_EQ(counters().arguments_set, set);
  device->unload_kernels(device->self, kernels);
}

TEST_F(OpenCl, ManySmallUploadsArriveInOrder) {
  OwnedBuffer buffer = must(OwnedBuffer::allocate(*device, 4));
  Bytes large(60000);
  OwnedBuffer other = must(OwnedBuffer::allocate(*device, 60000));
  for (int32_t i = 0; i < 100; ++i) {  // more than the staging memory holds
    must(device->copy_in(device->self, buffer.address(), std::as_bytes(std::span(&i, 1))));
    std::fill(large.begin(), large.end(), static_cast<uint8_t>(i));
    must(device->copy_in(device->self, other.address(), std::as_bytes(std::span(large))));
  }
  int32_t last = 0;
  Bytes back(60000);
  must(runtime::read(*device, std::as_writable_bytes(std::span(&last, 1)), buffer.address()));
  must(runtime::read(*device, std::as_writable_bytes(std::span(back)), other.address()));
  EXPECT_EQ(last, 99);
  EXPECT_EQ(back, Bytes(60000, 99));
}

// The first device's description, as of a driver that keeps programs itself or not.
runtime::opencl::Found first_device(const runtime::opencl::Api& api, bool keeps_programs) {
  runtime::opencl::Found found = must(runtime::opencl::find_devices(api))[0];
  found.keeps_programs = keeps_programs;
  return found;
}

// Programs as drivers need them that keep none themselves.
TEST_F(OpenCl, ProgramsAreCompiledOnce) {
  GpuVariant variant({counting("plus_1", 1)}, any_opencl());
  const runtime::opencl::Api& api = *must(runtime::opencl::load_api());
  const runtime::opencl::Found found = first_device(api, false);
  cl_int code = CL_SUCCESS;
  cl_context context = api.clCreateContext(nullptr, 1, &found.device, nullptr, nullptr, &code);
  ASSERT_EQ(code, CL_SUCCESS);
  auto from_cache = [&] {
    runtime::opencl::Program program =
        must(runtime::opencl::build_program(api, context, found, *variant, nullptr));
    cl_kernel kernel = api.clCreateKernel(program.program, "plus_1", &code);
    EXPECT_EQ(code, CL_SUCCESS);
    api.clReleaseKernel(kernel);
    api.clReleaseProgram(program.program);
    return program.from_cache;
  };
  EXPECT_FALSE(from_cache());
  EXPECT_TRUE(from_cache());
  // A damaged file is compiled again and replaced.
  std::string folder = path_join(home.path(), "kernel_cache"), file;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) file = entry.path().string();
  std::string bytes = must(read_file(file));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  must(write_file(file, bytes));
  EXPECT_FALSE(from_cache());
  EXPECT_TRUE(from_cache());
  // A folder that cannot be written costs time, not the program.
  ::setenv("MLC_LLM_HOME", "/dev/null/nowhere", 1);
  EXPECT_FALSE(from_cache());
  api.clReleaseContext(context);
}

TEST_F(OpenCl, ADriverThatKeepsProgramsIsLeftToIt) {
  GpuVariant variant({counting("plus_1", 1)}, any_opencl());
  const runtime::opencl::Api& api = *must(runtime::opencl::load_api());
  const runtime::opencl::Found found = first_device(api, true);
  cl_int code = CL_SUCCESS;
  cl_context context = api.clCreateContext(nullptr, 1, &found.device, nullptr, nullptr, &code);
  ASSERT_EQ(code, CL_SUCCESS);
  for (int i = 0; i < 2; ++i) {
    runtime::opencl::Program program =
        must(runtime::opencl::build_program(api, context, found, *variant, nullptr));
    EXPECT_FALSE(program.from_cache);
    api.clReleaseProgram(program.program);
  }
  EXPECT_FALSE(file_exists(path_join(home.path(), "kernel_cache")));
  api.clReleaseContext(context);
}

TEST_F(OpenCl, PoclKeepsPrograms) {
  const runtime::opencl::Api& api = *must(runtime::opencl::load_api());
  for (const runtime::opencl::Found& found : must(runtime::opencl::find_devices(api))) {
    char platform[64] = "";
    api.clGetPlatformInfo(found.platform, CL_PLATFORM_NAME, sizeof platform - 1, platform, nullptr);
    EXPECT_EQ(found.keeps_programs, std::string(platform) == "Portable Computing Language") << found.name;
  }
}

TEST_F(OpenCl, ARefusedKernelIsNamedWithTheDriversFirstLine) {
  MlcGpuKernel header{};
  header.language = static_cast<uint32_t>(GpuLanguage::kOpenClC);
  header.group_size = 1;
  std::vector<std::string> texts = {"__kernel void good(void) {}",
                                    "__kernel void bad(void) { no_such_function(1, 2); }"};
  std::vector<std::string> blobs = {gpu_kernel_blob(header, "good", texts[0]),
                                    gpu_kernel_blob(header, "bad", texts[1])};
  const void* table[] = {blobs[0].data(), blobs[1].data()};
  MlcLibraryVariant variant{};
  variant.kernels = table;
  variant.kernel_count = 2;
  auto loaded = device->load_kernels(device->self, variant);
  ASSERT_FALSE(loaded.is_ok());
  const std::string& message = loaded.status().message();
  for (const char* part : {"opencl device: ", "refuses kernel bad: ", "no_such_function", "driver"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST_F(OpenCl, SaysWhatItLacks) {
  auto missing = [&](const Json& header) { return device->missing_requirement(device->self, header); };
  EXPECT_EQ(missing({{"kind", "cpu"}}), "a device of kind cpu");
  EXPECT_EQ(missing({{"kind", "opencl"}, {"requires", {"subgroups_77"}}}), "a GPU with subgroups_77");
  EXPECT_EQ(missing({{"kind", "opencl"}, {"limits", {{"group_size", 1 << 20}}}})
                .rfind("groups of 1048576 threads, ", 0),
            0u);
  EXPECT_EQ(missing({{"kind", "opencl"}, {"limits", {{"shared_bytes", 1 << 30}}}})
                .rfind("1073741824 bytes of memory that ", 0),
            0u);
  EXPECT_EQ(missing({{"kind", "opencl"},
                     {"requires", Json::array()},
                     {"limits", {{"group_size", 256}, {"shared_bytes", 16384}}}}),
            "");
}

TEST_F(OpenCl, RefusesWhatDoesNotFitAndGoesOn) {
  auto refused = OwnedBuffer::allocate(*device, device->properties.max_allocation_bytes + 1);
  ASSERT_FALSE(refused.is_ok());
  EXPECT_EQ(refused.status().message().rfind("opencl device: cannot allocate ", 0), 0u)
      << refused.status().message();
  EXPECT_TRUE(OwnedBuffer::allocate(*device, 1 << 20).is_ok());

  GpuVariant variant({counting("plus_1", 1)}, any_opencl());
  KernelSet kernels = must(device->load_kernels(device->self, *variant));
  std::vector<Bytes> one = {Bytes(16)};
  EXPECT_EQ(launch_once(*device, kernels, 0, one, {1}, 1).message(),
            "opencl device: kernel plus_1 takes 2 buffers and 1 dims, got 1 and 1");
  std::vector<Bytes> two = {Bytes(16), Bytes(16)};
  EXPECT_FALSE(launch_once(*device, kernels, 0, two, {int64_t{1} << 31}, 1).is_ok());
  EXPECT_TRUE(launch_once(*device, kernels, 0, two, {1}, 1).is_ok());
  device->unload_kernels(device->self, kernels);
}

TEST_F(OpenCl, NumbersAreCheckedAgainstTheMachine) {
  EXPECT_TRUE(runtime::open_device("opencl:0").is_ok());
  for (auto [name, start] :
       {std::pair{"opencl:99", "--device: there is no opencl:99, this machine has opencl:0"},
        {"opencl:x", "--device: found 'opencl:x'"},
        {"opencl:-1", "--device: found 'opencl:-1'"}}) {
    auto opened = runtime::open_device(name);
    ASSERT_FALSE(opened.is_ok()) << name;
    EXPECT_EQ(opened.status().message().rfind(start, 0), 0u) << opened.status().message();
  }
}

TEST_F(OpenCl, IsListedWithMemoryAndFeatures) {
  auto listed = must(runtime::probe("opencl", runtime::list_opencl_devices));
  ASSERT_FALSE(listed.empty());
  EXPECT_EQ(listed[0].name, "opencl:0");
  EXPECT_EQ(listed[0].memory_bytes, device->properties.memory_bytes);
  EXPECT_FALSE(listed[0].features.empty());
}

using Listing = Result<std::vector<runtime::ListedDevice>>;

TEST(Probe, ACrashInADriverIsASentence) {
  auto crash = []() -> Listing { std::abort(); };
  Listing found = runtime::probe("opencl", crash);
  ASSERT_FALSE(found.is_ok());
  EXPECT_EQ(found.status().message(),
            "--device opencl: the driver crashed (Aborted) when asked for its devices; update it");
}

TEST(Probe, ADriverThatHangsOrEndsTheProcessIsASentence) {
  auto hang = []() -> Listing {
    for (;;) ::pause();
  };
  EXPECT_EQ(runtime::probe("opencl", hang, 1).status().message(),
            "--device opencl: the driver did not answer in 1 seconds; update it");
  auto leave = []() -> Listing { ::_exit(3); };
  EXPECT_EQ(runtime::probe("opencl", leave).status().message(),
            "--device opencl: the driver ended the process that asked it; update it");
  auto fail = []() -> Listing { return Status::error("--device opencl: nothing here"); };
  EXPECT_EQ(runtime::probe("opencl", fail).status().message(), "--device opencl: nothing here");
}

TEST(Probe, AnswersComeBackWhole) {
  auto list = []() -> Listing {
    std::vector<runtime::ListedDevice> many(3000);
    for (size_t i = 0; i < many.size(); ++i)
      many[i] = {.name = str("opencl:", i),
                 .description = "a device",
                 .memory_bytes = 5,
                 .features = {"a", "b"},
                 .software = i % 2 == 1};
    return many;
  };
  auto found = must(runtime::probe("opencl", list));
  ASSERT_EQ(found.size(), 3000u);
  EXPECT_EQ(found[2999].name, "opencl:2999");
  EXPECT_EQ(found[2999].features, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(found[2999].software);
}

}  // namespace
}  // namespace mlc::testing
