// Op cases on GPUs: tests derive from Gpu and add cases; when a test ends, the kernels of every class of
// device run in the interpreter, in test_suite_gpu on every GPU device of this machine too; in
// test_suite_cuda their PTX and AMD's code run on the fake drivers alone.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "kernel/interpret.h"
#include "kernel/print.h"
#include "support/gpu_devices.h"
#include "support/gpu_kernels.h"
#include "support/op_case.h"
#ifdef MLC_TEST_CUDA
#include "simulate/cuda/fake_driver.h"
#endif
#ifdef MLC_TEST_DEVICES
#include "simulate/metal_device.h"
#endif

namespace mlc::testing {

// The order of a page's K on GPUs (kernel/lower/cache.h) from that on CPUs ([head][d][token], of latents
// [head][token][d]) or back.
inline void reorder_keys(Bytes& bytes, const graph::PagedState& c, bool to_gpu) {
  Bytes from = bytes;
  auto size = static_cast<size_t>(size_of(c.dtype)), tokens = size_t(c.page_size), dim = size_t(c.key_dim),
       chunk = std::gcd(std::gcd(dim, size_t(c.value_dim)), 16 / size);
  auto page = static_cast<size_t>(c.page_elements()) * size;
  for (size_t p = 0; p + page <= bytes.size(); p += page)
    for (size_t head = 0; head < size_t(c.kv_heads); ++head)
      for (size_t d = 0; d < dim; ++d)
        for (size_t t = 0; t < tokens; ++t) {
          size_t cpu = p + (c.latent ? (head * tokens + t) * dim + d : (head * dim + d) * tokens + t) * size;
          size_t gpu = p + (((head * dim / chunk + d / chunk) * tokens + t) * chunk + d % chunk) * size;
          std::copy_n(from.begin() + long(to_gpu ? cpu : gpu), size,
                      bytes.begin() + long(to_gpu ? gpu : cpu));
        }
}

inline std::vector<Target> gpu_targets() {
  std::vector<Target> out;
  for (const char* name :
       {"vulkan-software", "vulkan-nvidia", "vulkan-amd", "vulkan-intel", "opencl-software"})
    out.push_back(class_target(name));
  return out;
}

// test_suite_gpu runs the kernels on devices too; their drivers take minutes to compile all of them on a CPU.
#ifdef MLC_TEST_DEVICES
constexpr bool kOnDevices = true;
#else
constexpr bool kOnDevices = false;
#endif

class Gpu : public ::testing::Test {
 protected:
  OpCase& add(const std::string& label, std::map<std::string, int64_t> dims) {
    OpCase& c = cases_.emplace_back(label, std::move(dims)).op;
    c.layers_apart = true;
    return c;
  }

  void TearDown() override {
    EXPECT_FALSE(cases_.empty()) << "the test added no case";
#ifdef MLC_TEST_CUDA
    run_on_fake<FakeCudaDriver>({"cuda", class_target("cuda-sm80")});
    run_on_fake<FakeHipDriver>({"rocm", class_target("rocm-gfx1030")});
#else
    for (const Target& target : gpu_targets())
      for (Entry& entry : cases_) {
        kernel::Function f = entry.op.lower(target);
        std::vector<Bytes> memory = before(entry.op);
        std::vector<kernel::HostBuffer> buffers;
        for (Bytes& b : memory) buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
        kernel::interpret(f, buffers, entry.op.dims(f));
        EXPECT_EQ(difference(entry.op, std::move(memory)), "") << entry.label << " on " << target.name;
      }
    if (!kOnDevices) return;
    for (const GpuTarget& gpu : best_gpu_targets()) run_on(gpu);
#endif
#ifdef MLC_TEST_DEVICES
    register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
    run_on({"metal", class_target("metal-apple")});
#endif
  }

 private:
  struct Entry {
    Entry(std::string text, std::map<std::string, int64_t> dims)
        : label(std::move(text)), op(std::move(dims)) {}
    std::string label;
    OpCase op;
  };

#ifdef MLC_TEST_CUDA
  template <typename Driver>
  void run_on_fake(const GpuTarget& gpu) {
    Driver driver;
    run_on(gpu);
    EXPECT_EQ(driver.complaints(), std::vector<std::string>());
    EXPECT_EQ(driver.alive(), std::vector<std::string>());
  }
#endif

  // All cases as one library on a device of this machine.
  void run_on(const GpuTarget& gpu) {
    runtime::DevicePtr device = runtime::open_device(gpu.device).value();
    std::vector<kernel::Function> kernels;
    std::map<std::string, uint32_t> known;  // by text
    std::vector<uint32_t> which;
    for (Entry& entry : cases_) {
      kernel::Function f = entry.op.lower(gpu.target);
      auto [at, added] = known.emplace(kernel::print(f), static_cast<uint32_t>(kernels.size()));
      which.push_back(at->second);
      f.name = str("k", kernels.size());
      if (added) kernels.push_back(std::move(f));
    }
    GpuVariant variant(kernels, gpu.target);
    auto loaded = device->load_kernels(device->self, *variant);
    ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
    for (size_t i = 0; i < cases_.size(); ++i) {
      OpCase& op = cases_[i].op;
      std::vector<Bytes> memory = before(op);
      Status status = launch_once(*device, *loaded, which[i], memory, op.dims(kernels[which[i]]),
                                  op.tiles(kernels[which[i]]));
      EXPECT_TRUE(status.is_ok()) << status.message();
      EXPECT_EQ(difference(op, std::move(memory)), "") << cases_[i].label << " run on " << gpu.target.name;
    }
    device->unload_kernels(device->self, *loaded);
  }

  // Position of a case's cache among its buffers, or -1.
  static int cache_index(const OpCase& op, size_t buffers) {
    const graph::Node& node = *op.module.functions[0]->nodes.back();
    bool cached = op.module.find_state(node.state) && node.op != "copy_pages";
    return cached ? static_cast<int>(buffers - node.outputs.size() - 1) : -1;
  }

  // The buffers of a call in the order of GPUs and in whole words, as devices allocate.
  static std::vector<Bytes> before(const OpCase& op) {
    std::vector<Bytes> memory = op.memory();
    if (int cache = cache_index(op, memory.size()); cache >= 0)
      reorder_keys(memory[static_cast<size_t>(cache)], op.module.states[0], true);
    for (Bytes& b : memory) b.resize((b.size() + 3) / 4 * 4, 0xFF);
    return memory;
  }

  static std::string difference(OpCase& op, std::vector<Bytes> memory) {
    const std::vector<Bytes> sizes = op.memory();
    for (size_t i = 0; i < memory.size(); ++i) memory[i].resize(sizes[i].size());
    if (int cache = cache_index(op, memory.size()); cache >= 0)
      reorder_keys(memory[static_cast<size_t>(cache)], op.module.states[0], false);
    return op.difference(memory);
  }

  std::deque<Entry> cases_;
};

}  // namespace mlc::testing
