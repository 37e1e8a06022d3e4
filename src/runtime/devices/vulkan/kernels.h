// Kernels on a Vulkan device: blobs of a library variant, pipelines made at first use, the cache of pipelines
// on disk.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "formats/library.h"
#include "runtime/devices/vulkan/context.h"

namespace mlc::runtime::vulkan {

class Kernels {
 public:
  // Errors: a damaged blob, or one of another language.
  static Result<std::unique_ptr<Kernels>> load(Context& context, const MlcLibraryVariant& variant);
  ~Kernels();
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // Writes the launches into a command buffer. Errors: a kernel that the driver rejects (its name and the
  // driver's first line), a buffer that the driver cannot bind, no memory.
  Result<Commands> record(std::span<const Launch> launches);

 private:
  struct Layout {
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    VkPipelineLayout pipeline = VK_NULL_HANDLE;
  };
  struct Kernel {
    GpuKernelView view;
    Layout layout;
    std::array<VkPipeline, 2> pipelines{};  // for one row of groups, for several
  };

  explicit Kernels(Context& context) : context_(context) {}
  Result<Layout> layout(uint32_t buffers, uint32_t dims);
  Status make_pipeline(Kernel& kernel, bool rows);
  Result<VkDescriptorPool> make_pool(std::span<const Launch> launches);
  Status bind(const Commands& commands, const Kernel& kernel, const Launch& launch);
  Status write_launch(const Commands& commands, const Launch& launch);
  std::string cache_path() const;
  void open_cache();
  void save_cache();

  Context& context_;
  std::string target_;  // name of the variant
  std::vector<Kernel> kernels_;
  std::map<std::pair<uint32_t, uint32_t>, Layout> layouts_;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  bool cache_grew_ = false;
  std::vector<VkDescriptorBufferInfo> ranges_;  // of the launch being bound
};

}  // namespace mlc::runtime::vulkan
