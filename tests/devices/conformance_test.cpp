// What device.h promises, on every device: memory, copies, the order of launches, error texts.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/target/cuda.h"
#include "kernel/builder.h"
#include "kernel/passes/narrow_indices.h"
#include "runtime/devices/null/null.h"
#include "runtime/memory.h"
#include "simulate/cuda/fake_driver.h"
#include "simulate/interpreter_device.h"
#include "support/gpu_kernels.h"
#include "support/native_kernels.h"

namespace mlc::runtime {
namespace {

DevicePtr open(const std::string& name) {
  register_interpreter_device();
  // One at a time, and a test opens one device.
  static std::unique_ptr<FakeDriver> driver;
  driver.reset();
  if (name == "cuda") driver = std::make_unique<FakeCudaDriver>();
  if (name == "rocm") driver = std::make_unique<FakeHipDriver>();
  auto device = open_device(name, {.threads = 2});
  EXPECT_TRUE(device.is_ok()) << device.status().message();
  return std::move(device).value();
}

const auto kDevices = ::testing::Values("null", "cpu", "cuda", "interpreter", "opencl", "rocm", "vulkan");

bool is_gpu(const std::string& device) { return lang::has_gpu_language(device); }

class Conformance : public ::testing::TestWithParam<std::string> {
 protected:
  Conformance() : device(open(GetParam())) {}
  DeviceBuffer allocate(int64_t bytes) {
    auto buffer = device->allocate(device->self, bytes);
    EXPECT_TRUE(buffer.is_ok()) << buffer.status().message();
    return *buffer;
  }
  std::vector<uint8_t> read(DeviceAddress from, size_t bytes) {
    std::vector<uint8_t> out(bytes, 0xAA);
    EXPECT_TRUE(mlc::runtime::read(*device, std::as_writable_bytes(std::span(out)), from).is_ok());
    return out;
  }
  void write(DeviceAddress to, const std::vector<uint8_t>& bytes) {
    EXPECT_TRUE(device->copy_in(device->self, to, std::as_bytes(std::span(bytes))).is_ok());
  }

  DevicePtr device;
};

TEST_P(Conformance, DescribesItself) {
  EXPECT_EQ(device->properties.name, GetParam());
  EXPECT_FALSE(device->properties.description.empty());
  EXPECT_GE(device->properties.threads, 1);
  EXPECT_GT(device->properties.memory_bytes, 0);
  for (bool filled : {device->allocate != nullptr, device->release != nullptr, device->copy_in != nullptr,
                      device->begin_read != nullptr, device->poll != nullptr,
                      device->missing_requirement != nullptr, device->load_kernels != nullptr,
                      device->unload_kernels != nullptr, device->submit != nullptr, device->sync != nullptr})
    EXPECT_TRUE(filled);
}

TEST_P(Conformance, MemoryIsZeroedAndAligned) {
  for (int64_t bytes : {1, 63, 64, 4097, 5 << 20}) {
    DeviceBuffer dirty = allocate(bytes);
    write({dirty.handle, 0}, std::vector<uint8_t>(static_cast<size_t>(bytes), 0xFF));
    device->release(device->self, dirty);
    DeviceBuffer buffer = allocate(bytes);  // often the same place
    EXPECT_EQ(buffer.bytes, bytes);
    if (device->properties.host_memory) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.handle) % 64, 0u);
    }
    EXPECT_EQ(read({buffer.handle, 0}, static_cast<size_t>(bytes)),
              std::vector<uint8_t>(static_cast<size_t>(bytes), 0));
    device->release(device->self, buffer);
  }
}

TEST_P(Conformance, CopiesTakeOffsets) {
  DeviceBuffer buffer = allocate(16);
  write({buffer.handle, 5}, {1, 2, 3});
  write({buffer.handle, 7}, {9, 9});
  EXPECT_EQ(read({buffer.handle, 4}, 6), (std::vector<uint8_t>{0, 1, 2, 9, 9, 0}));
  write({buffer.handle, 16}, {});  // nothing, at the end
  EXPECT_TRUE(read({buffer.handle, 16}, 0).empty());
  device->release(device->self, buffer);
}

TEST_P(Conformance, ReadsAreBegunAndPolled) {
  EXPECT_TRUE(*device->poll(device->self));  // nothing was asked for
  for (int64_t size : {int64_t{16}, int64_t{3} << 20}) {
    DeviceBuffer buffer = allocate(size);
    write({buffer.handle, size - 4}, {1, 2, 3, 4});
    std::vector<uint8_t> out(3, 0xAA);
    ASSERT_TRUE(
        device->begin_read(device->self, std::as_writable_bytes(std::span(out)), {buffer.handle, size - 3})
            .is_ok());
    for (bool arrived = false; !arrived;) {
      auto polled = device->poll(device->self);
      ASSERT_TRUE(polled.is_ok()) << polled.status().message();
      arrived = *polled;
    }
    EXPECT_EQ(out, (std::vector<uint8_t>{2, 3, 4}));
    device->release(device->self, buffer);
  }
}

TEST_P(Conformance, RefusesImpossibleMemory) {
  for (int64_t bytes : {int64_t{-1}, int64_t{1} << 60}) {
    auto buffer = device->allocate(device->self, bytes);
    ASSERT_FALSE(buffer.is_ok()) << bytes;
    EXPECT_EQ(buffer.status().message().rfind(GetParam() + " device: ", 0), 0u) << buffer.status().message();
  }
  EXPECT_NE(device->allocate(device->self, int64_t{1} << 60).status().message().find("cannot allocate"),
            std::string::npos);
}

TEST_P(Conformance, SaysWhatAVariantNeeds) {
  EXPECT_EQ(device->missing_requirement(device->self, {{"kind", "abacus"}}),
            GetParam() == "null" ? "" : "a device of kind abacus");
  if (GetParam() == "cpu") {
    EXPECT_EQ(device->missing_requirement(device->self, {{"kind", "cpu"}, {"requires", {"abacus"}}}),
              "CPU feature abacus");
    EXPECT_EQ(device->missing_requirement(device->self, {{"kind", "cpu"}, {"architecture", "vax"}}),
              "a CPU of kind vax");
  }
}

TEST(OpenDevice, NamesTheNearestDevice) {
  auto device = open_device("cpi");
  ASSERT_FALSE(device.is_ok());
  EXPECT_EQ(device.status().message().rfind("--device: unknown device 'cpi'", 0), 0u)
      << device.status().message();
  EXPECT_NE(device.status().message().find("cpu"), std::string::npos);
  EXPECT_EQ(open_device("iphone").status().message(), "--device: iphone is not built yet; use --device cpu");
  const std::string webgpu = open_device("webgpu").status().message();
  EXPECT_EQ(webgpu.find("--device webgpu: it needs a browser"), 0u) << webgpu;
}

INSTANTIATE_TEST_SUITE_P(Devices, Conformance, kDevices, [](const auto& info) { return info.param; });

// Kernels: one element a tile. `twice`: y[i] = 2 x[i] + 1. `turn`: y[i] = x[rows - 1 - i], which reads what
// other tiles of the launch before it stored.
std::vector<kernel::Function> make_kernels(bool gpu) {
  const Dim rows = Dim::symbol("rows");
  std::vector<kernel::Function> kernels;
  for (const char* name : {"twice", "turn"}) {
    kernel::KernelBuilder k(name);
    const bool twice = kernels.empty();
    auto x = k.input("x", DType::kF32, rows), y = k.output("y", DType::kF32, rows);
    auto body = [&](kernel::ExprRef i) {
      if (twice)
        k.store(y, i, k.load(x, i) * 2.0 + 1.0);
      else
        k.store(y, i, k.load(x, k.dimension("rows") - i - 1));
    };
    if (gpu)
      k.groups(rows, 1, 0, [&](kernel::ExprRef group, kernel::ExprRef) { body(group); });
    else
      k.grid("i", rows, body);
    kernels.push_back(gpu ? kernel::narrow_indices(k.finish()) : k.finish());
  }
  return kernels;
}

class Launches : public Conformance {
 protected:
  Launches() : functions(make_kernels(is_gpu(GetParam()))) {
    MlcLibraryVariant variant{};
    if (is_gpu(GetParam())) {
      Target target;
      target.kind = target.name = GetParam();
      if (GetParam() == "cuda") target = cuda_targets("cuda-sm80").front();  // LLVM wants to know more
      if (GetParam() == "rocm") target = targets_for_device("rocm-gfx1030").value().front();
      blobs = std::make_unique<testing::GpuVariant>(functions, target);
      variant = **blobs;
      load(variant);
      return;
    }
    if (GetParam() == "cpu") native = std::make_unique<NativeKernels>(functions, runnable_targets().front());
    for (const kernel::Function& f : functions)
      table.push_back(native ? reinterpret_cast<const void*>(native->kernel(f.name))
                             : static_cast<const void*>(&f));
    variant.kernels = table.data();
    variant.kernel_count = table.size();
    load(variant);
  }
  ~Launches() override { device->unload_kernels(device->self, kernels); }

  void load(const MlcLibraryVariant& variant) {
    auto loaded = device->load_kernels(device->self, variant);
    EXPECT_TRUE(loaded.is_ok());
    kernels = *loaded;
  }

  std::vector<kernel::Function> functions;
  std::unique_ptr<NativeKernels> native;
  std::unique_ptr<testing::GpuVariant> blobs;
  std::vector<const void*> table;
  KernelSet kernels = nullptr;
};

// 300 launches that hand two buffers back and forth, in one submission, twice.
TEST_P(Launches, SeeTheStoresOfThoseBefore) {
  constexpr int64_t kRows = 1000;
  auto a = OwnedBuffer::allocate(*device, 4 * kRows + 64), b = OwnedBuffer::allocate(*device, 4 * kRows + 64);
  ASSERT_TRUE(a.is_ok() && b.is_ok());
  std::vector<float> expected(kRows);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<float>(i) / 1024;
  ASSERT_TRUE(device->copy_in(device->self, a->address(64), std::as_bytes(std::span(expected))).is_ok());
  const std::vector<DeviceAddress> forth = {a->address(64), b->address(64)},
                                   back = {b->address(64), a->address(64)};
  const std::vector<int64_t> dims = {kRows};
  std::vector<Launch> launches;
  for (int i = 0; i < 300; ++i)
    launches.push_back({.kernel = i % 20 == 0 ? 0u : 1u,
                        .buffers = i % 2 == 0 ? forth : back,
                        .dims = dims,
                        .tiles = kRows});
  for (int run = 0; run < 2; ++run) {
    ASSERT_TRUE(device->submit(device->self, kernels, launches).is_ok());
    ASSERT_TRUE(device->sync(device->self).is_ok());
    for (const Launch& launch : launches) {
      if (launch.kernel == 1)
        std::reverse(expected.begin(), expected.end());
      else
        for (float& x : expected) x = x * 2 + 1;
    }
  }
  std::vector<float> got(kRows);
  ASSERT_TRUE(mlc::runtime::read(*device, std::as_writable_bytes(std::span(got)), a->address(64)).is_ok());
  if (GetParam() == "null") {
    EXPECT_EQ(null_counters(*device).launches, 600);
    EXPECT_EQ(null_counters(*device).submits, 2);
  } else {
    EXPECT_EQ(got, expected);
  }
}

TEST_P(Launches, OfNothingDoNothing) {
  EXPECT_TRUE(device->submit(device->self, kernels, {}).is_ok());
  auto a = OwnedBuffer::allocate(*device, 64);
  ASSERT_TRUE(a.is_ok());
  const std::vector<DeviceAddress> buffers = {a->address(), a->address()};
  const std::vector<int64_t> dims = {0};
  const Launch empty{.kernel = 0, .buffers = buffers, .dims = dims, .tiles = 0};
  EXPECT_TRUE(device->submit(device->self, kernels, {&empty, 1}).is_ok());
  EXPECT_TRUE(device->sync(device->self).is_ok());
  EXPECT_EQ(read(a->address(), 64), std::vector<uint8_t>(64, 0));
}

class Recordings : public Launches {};

TEST_P(Recordings, AreReplayedOverNewData) {
  ASSERT_NE(device->record, nullptr);
  auto a = OwnedBuffer::allocate(*device, 256), b = OwnedBuffer::allocate(*device, 256);
  const std::vector<DeviceAddress> forth = {a->address(), b->address()}, back = {b->address(), a->address()};
  const std::vector<int64_t> dims = {64};
  std::vector<Launch> launches = {{.kernel = 0, .buffers = forth, .dims = dims, .tiles = 64},
                                  {.kernel = 1, .buffers = back, .dims = dims, .tiles = 64}};
  auto recording = device->record(device->self, kernels, launches);
  ASSERT_TRUE(recording.is_ok()) << recording.status().message();
  launches.clear();
  for (float first : {0.0f, 100.0f}) {
    std::vector<float> x(64), expected(64);
    for (size_t i = 0; i < 64; ++i) x[i] = first + static_cast<float>(i), expected[63 - i] = 2 * x[i] + 1;
    ASSERT_TRUE(device->copy_in(device->self, a->address(), std::as_bytes(std::span(x))).is_ok());
    ASSERT_TRUE(device->replay(device->self, *recording).is_ok());
    std::vector<float> got(64);
    ASSERT_TRUE(mlc::runtime::read(*device, std::as_writable_bytes(std::span(got)), a->address()).is_ok());
    EXPECT_EQ(got, GetParam() == "null" ? x : expected);
  }
  device->release_recording(device->self, *recording);
}

INSTANTIATE_TEST_SUITE_P(Devices, Launches, kDevices, [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Devices, Recordings, ::testing::Values("cuda", "null", "opencl", "vulkan"),
                         [](const auto& info) { return info.param; });

TEST(InterpreterDevice, RefusesWhatIsNotLive) {
  DevicePtr device = open("interpreter");
  auto buffer = device->allocate(device->self, 8);
  ASSERT_TRUE(buffer.is_ok());
  std::byte bytes[16] = {};
  EXPECT_EQ(device->copy_in(device->self, {buffer->handle, 0}, std::span(bytes)).message(),
            "interpreter device: copy of 16 bytes past the end of a buffer");
  EXPECT_EQ(mlc::runtime::read(*device, std::span(bytes), {buffer->handle, 1}).message(),
            "interpreter device: copy of 16 bytes past the end of a buffer");
  EXPECT_FALSE(mlc::runtime::read(*device, std::span(bytes).first(1), {buffer->handle, -1}).is_ok());
  device->release(device->self, *buffer);
  EXPECT_FALSE(device->copy_in(device->self, {buffer->handle, 0}, std::span(bytes).first(1)).is_ok());
}

}  // namespace
}  // namespace mlc::runtime
