// The Vulkan device: every construct of device functions against the kernel interpreter with the validation
// layers on, memory that the host cannot reach, recordings, errors. Skipped where there is no Vulkan driver.
#include "runtime/devices/vulkan/vulkan.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "base/strings.h"
#include "emit/device_cases.h"
#include "kernel/interpret.h"
#include "support/compiled_model.h"
#include "support/device_constructs.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {
namespace {

using namespace runtime;  // NOLINT: this file is about the runtime

Target vulkan_target() {
  Target target;
  target.kind = target.name = "vulkan";
  return target;
}

// A failure where Vulkan, or the validation layers when asked for, are missing: scripts/install brings both.
DevicePtr open_for_tests(const VulkanSettings& settings) {
  return must(open_vulkan_device_with({}, settings));
}

class Vulkan : public ::testing::Test {
 protected:
  void SetUp() override { device = open_for_tests({.unreachable_memory = false, .validation = true}); }
  void TearDown() override {
    if (device) expect_quiet(*device);
  }
  static void expect_quiet(const Device& device) {
    for (const std::string& line : vulkan_messages(device)) ADD_FAILURE() << line;
  }
  KernelSet load(const GpuVariant& variant) {
    auto kernels = device->load_kernels(device->self, *variant);
    EXPECT_TRUE(kernels.is_ok()) << kernels.status().message();
    return *kernels;
  }

  DevicePtr device;
};

TEST_F(Vulkan, ComputesEveryConstructLikeTheInterpreter) {
  const bool has_subgroups =
      device->missing_requirement(device->self, {{"kind", "vulkan"}, {"requires", {"subgroups_8"}}}).empty();
  expect_constructs_of_interpreter(*device, vulkan_target(), cases_for_subgroups(has_subgroups ? 8 : 0));
}

// More groups than a row holds, at the edges too.
TEST_F(Vulkan, FoldsLargeGridsIntoRows) {
  EXPECT_EQ(kernel::kGroupsPerRow, kSpirvGroupsPerRow);
  std::vector<kernel::Function> functions = {counting("count", 1)};
  GpuVariant variant(functions, vulkan_target());
  KernelSet kernels = load(variant);
  for (int64_t rows : {int64_t{1}, kSpirvGroupsPerRow, kSpirvGroupsPerRow + 1, 3 * kSpirvGroupsPerRow - 1}) {
    std::vector<int32_t> x(static_cast<size_t>(4 * rows) + 16);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int32_t>(i);
    std::vector<Bytes> buffers = {bytes_of(x), bytes_of(std::vector<int32_t>(x.size(), -7))};
    Status s = launch_once(*device, kernels, 0, buffers, {rows}, rows);
    ASSERT_TRUE(s.is_ok()) << s.message();
    for (size_t i = 0; i < x.size(); ++i) x[i] = i < x.size() - 16 ? x[i] + 1 : -7;
    EXPECT_EQ(buffers[1], bytes_of(x)) << rows;
  }
  device->unload_kernels(device->self, kernels);
}

TEST_F(Vulkan, ReplaysMakeNothing) {
  std::vector<kernel::Function> functions = {counting("plus_1", 1), counting("plus_100", 100)};
  GpuVariant variant(functions, vulkan_target());
  KernelSet kernels = load(variant);
  auto a = OwnedBuffer::allocate(*device, 4096), b = OwnedBuffer::allocate(*device, 4096);
  const std::vector<DeviceAddress> forth = {a->address(), b->address()}, back = {b->address(), a->address()};
  const std::vector<int64_t> dims = {256};
  std::vector<Launch> launches = {{.kernel = 0, .buffers = forth, .dims = dims, .tiles = 256},
                                  {.kernel = 1, .buffers = back, .dims = dims, .tiles = 256}};
  auto recording = device->record(device->self, kernels, launches);
  ASSERT_TRUE(recording.is_ok()) << recording.status().message();
  const VulkanCounters before = vulkan_counters(*device);
  EXPECT_EQ(before.pipelines, 2);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(device->replay(device->self, *recording).is_ok());
  std::vector<int32_t> out(1024);
  ASSERT_TRUE(runtime::read(*device, std::as_writable_bytes(std::span(out)), a->address()).is_ok());
  EXPECT_EQ(out, std::vector<int32_t>(1024, 1010));
  const VulkanCounters after = vulkan_counters(*device);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.pipelines, before.pipelines);
  EXPECT_EQ(after.recordings, before.recordings);
  EXPECT_EQ(after.submits, before.submits + 10);
  device->release_recording(device->self, *recording);
  device->unload_kernels(device->self, kernels);
}

// As on a discrete GPU: large buffers are reached through staging, in several pieces.
TEST(VulkanStaging, MovesWhatTheHostCannotReach) {
  DevicePtr device = open_for_tests({.unreachable_memory = true, .validation = true});
  constexpr size_t kBytes = (size_t{33} << 20) + 12;
  auto buffer = OwnedBuffer::allocate(*device, kBytes);
  ASSERT_TRUE(buffer.is_ok()) << buffer.status().message();
  Bytes in(kBytes), out(kBytes, 1);
  ASSERT_TRUE(runtime::read(*device, std::as_writable_bytes(std::span(out)), buffer->address()).is_ok());
  EXPECT_EQ(out, in) << "memory starts as zeros";
  std::mt19937 random(3);
  for (uint8_t& byte : in) byte = static_cast<uint8_t>(random());
  const int64_t submits = vulkan_counters(*device).submits;
  ASSERT_TRUE(device->copy_in(device->self, buffer->address(), std::as_bytes(std::span(in))).is_ok());
  EXPECT_EQ(vulkan_counters(*device).submits, submits + 3) << "33 MiB in pieces of 16";
  ASSERT_TRUE(runtime::read(*device, std::as_writable_bytes(std::span(out)), buffer->address()).is_ok());
  EXPECT_EQ(out, in);
  for (const std::string& line : vulkan_messages(*device)) ADD_FAILURE() << line;
}

TEST_F(Vulkan, SaysWhatItLacks) {
  auto missing = [&](const Json& header) { return device->missing_requirement(device->self, header); };
  EXPECT_EQ(missing({{"kind", "vulkan"}, {"requires", {"subgroups_77"}}}), "a GPU with subgroups_77");
  EXPECT_EQ(missing({{"kind", "vulkan"}, {"limits", {{"group_size", 1 << 20}}}})
                .rfind("groups of 1048576 threads, ", 0),
            0u);
  EXPECT_EQ(missing({{"kind", "vulkan"}, {"limits", {{"shared_bytes", 1 << 28}}}})
                .rfind("268435456 bytes of memory ", 0),
            0u);
  EXPECT_EQ(missing({{"kind", "cpu"}}), "a device of kind cpu");
  EXPECT_EQ(missing({{"kind", "vulkan"},
                     {"requires", Json::array()},
                     {"limits", {{"group_size", 128}, {"shared_bytes", 16384}}}}),
            "");
}

TEST_F(Vulkan, DamagedKernelsAreASentence) {
  std::vector<kernel::Function> functions = {counting("plus_1", 1)};
  GpuVariant variant(functions, vulkan_target());
  MlcLibraryVariant other = *variant;
  std::vector<uint64_t> blob(64);
  std::memcpy(blob.data(), (*variant).kernels[0], 64);
  blob[0] = (blob[0] & ~uint64_t{0xFFFFFFFF}) | 1;  // the number of OpenCL C
  const void* table[] = {blob.data()};
  other.kernels = table;
  auto loaded = device->load_kernels(device->self, other);
  ASSERT_FALSE(loaded.is_ok());
  EXPECT_NE(loaded.status().message().find("plus_1"), std::string::npos) << loaded.status().message();
}

// A whole model under the validation layers; what a step of steady decoding asks of the driver: one
// submission, with the next token drawn in it or not, and one readback: of the logits or of that token.
TEST_F(Vulkan, DecodesWithOneSubmissionAStep) {
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 2, must(targets_for_device("vulkan")));
  const LoadedModel m = LoadedModel::load(std::move(device), folder.file("model.so"), folder.path(),
                                          {.max_sequences = 2, .context_tokens = 64, .prefill_chunk = 32});
  must(m->sequences().add(1));
  const std::vector<int32_t> tokens(20, 3);
  m.step({{1, tokens}}, WantLogits::kLast);
  const std::vector<StepSequence> one = {{1, std::span(tokens).first(1)}};
  const std::vector<DrawSettings> settings = {{1, 0.9f, 0.5f}};
  for (bool draws : {false, true}) {
    auto step = [&] {
      draws ? must(m->step_and_sample(one, settings)).size() : m.step(one, WantLogits::kLast).size();
    };
    for (int i = 0; i < 2; ++i) step();
    const VulkanCounters before = vulkan_counters(*m.device);
    for (int i = 0; i < 4; ++i) step();  // in the second page
    const VulkanCounters after = vulkan_counters(*m.device);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.pipelines, before.pipelines);
    EXPECT_EQ(after.recordings, before.recordings);
    EXPECT_EQ(after.submits, before.submits + 4);
    EXPECT_EQ(after.readbacks, before.readbacks + 4);
    EXPECT_EQ(after.bytes_read, before.bytes_read + 4 * 4 * (draws ? 1 : m->vocab_size()));
  }
  expect_quiet(*m.device);
}

// Weights that the host cannot reach, logits that it can.
TEST(VulkanStaging, RunsModels) {
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 0, must(targets_for_device("vulkan")));
  std::vector<std::vector<float>> logits;
  for (bool unreachable : {false, true}) {
    DevicePtr device = open_for_tests({.unreachable_memory = unreachable, .validation = true});
    const LoadedModel m = LoadedModel::load(std::move(device), folder.file("model.so"), folder.path(),
                                            {.max_sequences = 2, .context_tokens = 64, .prefill_chunk = 32});
    must(m->sequences().add(1));
    logits.push_back(m.step({{1, std::vector<int32_t>(20, 3)}}, WantLogits::kAll));
    for (const std::string& line : vulkan_messages(*m.device)) ADD_FAILURE() << line;
  }
  EXPECT_EQ(logits[0], logits[1]);
}

// An instruction that no driver knows in the place of an addition.
TEST(VulkanErrors, ARejectedKernelIsNamed) {
  DevicePtr device = open_for_tests({});
  std::vector<kernel::Function> functions = {counting("plus_1", 1)};
  GpuVariant variant(functions, vulkan_target());
  std::string code(must(read_gpu_kernel((*variant).kernels[0], GpuLanguage::kSpirv)).code);
  constexpr uint32_t kIAdd = 128, kUnknown = 0xFFF0;
  auto* words = reinterpret_cast<uint32_t*>(code.data());
  for (size_t at = 5; at < code.size() / 4; at += words[at] >> 16)
    if ((words[at] & 0xFFFF) == kIAdd) words[at] = (words[at] & 0xFFFF0000) | kUnknown;
  const MlcGpuKernel header = must(read_gpu_kernel((*variant).kernels[0], GpuLanguage::kSpirv)).header;
  const std::string blob = gpu_kernel_blob(header, "plus_1", code);
  std::vector<uint64_t> aligned(blob.size() / 8 + 1);
  std::memcpy(aligned.data(), blob.data(), blob.size());
  const void* table[] = {aligned.data()};
  MlcLibraryVariant damaged = *variant;
  damaged.kernels = table;
  auto kernels = device->load_kernels(device->self, damaged);
  ASSERT_TRUE(kernels.is_ok()) << kernels.status().message();
  std::vector<Bytes> buffers(2, Bytes(64));
  const Status status = launch_once(*device, *kernels, 0, buffers, {4}, 4);
  ASSERT_FALSE(status.is_ok());
  EXPECT_EQ(status.message().rfind("vulkan device: the driver rejects kernel plus_1 of vulkan: ", 0), 0u)
      << status.message();
  device->unload_kernels(device->self, *kernels);
}

TEST(VulkanIndex, IsCheckedAgainstTheMachine) {
  open_for_tests({});
  auto device = open_device("vulkan:99");
  ASSERT_FALSE(device.is_ok());
  EXPECT_EQ(device.status().message().rfind("--device vulkan:99: there are ", 0), 0u)
      << device.status().message();
}

}  // namespace
}  // namespace mlc::testing
