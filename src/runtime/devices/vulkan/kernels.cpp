// Pipelines and launches.
#include "runtime/devices/vulkan/kernels.h"

#include <algorithm>
#include <cstring>

#include "base/env.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "runtime/devices/gpu_launch.h"

namespace mlc::runtime::vulkan {

Result<std::unique_ptr<Kernels>> Kernels::load(Context& context, const MlcLibraryVariant& variant) {
  std::unique_ptr<Kernels> kernels(new Kernels(context));
  ASSIGN_OR_RETURN(Json header, parse_json({variant.header, static_cast<size_t>(variant.header_bytes)},
                                           "library variant"));
  kernels->target_ = find_string(header, "name").value_or("?");
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], GpuLanguage::kSpirv));
    ASSIGN_OR_RETURN(Layout layout, kernels->layout(view.header.buffer_count, view.header.dim_count));
    kernels->kernels_.push_back({view, layout, {}});
  }
  kernels->open_cache();
  return kernels;
}

Kernels::~Kernels() {
  (void)context_.wait();
  const Api& api = context_.api;
  save_cache();
  for (const Kernel& k : kernels_)
    for (VkPipeline p : k.pipelines)
      if (p) api.DestroyPipeline(context_.device, p, nullptr);
  for (const auto& [key, layout] : layouts_) {
    if (layout.pipeline) api.DestroyPipelineLayout(context_.device, layout.pipeline, nullptr);
    if (layout.set) api.DestroyDescriptorSetLayout(context_.device, layout.set, nullptr);
  }
  if (cache_) api.DestroyPipelineCache(context_.device, cache_, nullptr);
}

Result<Kernels::Layout> Kernels::layout(uint32_t buffers, uint32_t dims) {
  auto [it, added] = layouts_.emplace(std::pair{buffers, dims}, Layout{});
  if (!added) return it->second;
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < buffers; ++i)
    bindings.push_back({i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  VkDescriptorSetLayoutCreateInfo set{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                      .bindingCount = buffers,
                                      .pBindings = bindings.data()};
  if (VkResult r = context_.api.CreateDescriptorSetLayout(context_.device, &set, nullptr, &it->second.set);
      r != VK_SUCCESS)
    return context_.error("no descriptor layout", r);
  VkPushConstantRange constants{VK_SHADER_STAGE_COMPUTE_BIT, 0, 4 * (dims + 1)};
  VkPipelineLayoutCreateInfo info{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                  .setLayoutCount = 1,
                                  .pSetLayouts = &it->second.set,
                                  .pushConstantRangeCount = 1,
                                  .pPushConstantRanges = &constants};
  if (VkResult r = context_.api.CreatePipelineLayout(context_.device, &info, nullptr, &it->second.pipeline);
      r != VK_SUCCESS)
    return context_.error("no pipeline layout", r);
  return it->second;
}

Status Kernels::make_pipeline(Kernel& kernel, bool rows) {
  const Api& api = context_.api;
  auto rejected = [&](VkResult r) {
    return context_.error(str("the driver rejects kernel ", kernel.view.name, " of ", target_), r);
  };
  VkShaderModuleCreateInfo code{.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                .codeSize = kernel.view.code.size(),
                                .pCode = reinterpret_cast<const uint32_t*>(kernel.view.code.data())};
  VkShaderModule module = VK_NULL_HANDLE;
  if (VkResult r = api.CreateShaderModule(context_.device, &code, nullptr, &module); r != VK_SUCCESS)
    return rejected(r);
  VkBool32 has_rows = rows;
  VkSpecializationMapEntry entry{0, 0, sizeof has_rows};
  VkSpecializationInfo constants{1, &entry, sizeof has_rows, &has_rows};
  VkComputePipelineCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                   .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                             .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                             .module = module,
                                             .pName = "main",
                                             .pSpecializationInfo = &constants},
                                   .layout = kernel.layout.pipeline};
  VkResult r =
      api.CreateComputePipelines(context_.device, cache_, 1, &info, nullptr, &kernel.pipelines[rows]);
  api.DestroyShaderModule(context_.device, module, nullptr);
  if (r != VK_SUCCESS) return rejected(r);
  ++context_.counters.pipelines;
  cache_grew_ = true;
  return Status::ok();
}

Result<VkDescriptorPool> Kernels::make_pool(std::span<const Launch> launches) {
  VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  for (const Launch& l : launches) size.descriptorCount += static_cast<uint32_t>(l.buffers.size());
  VkDescriptorPoolCreateInfo info{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                  .maxSets = static_cast<uint32_t>(launches.size()),
                                  .poolSizeCount = 1,
                                  .pPoolSizes = &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  if (VkResult r = context_.api.CreateDescriptorPool(context_.device, &info, nullptr, &pool); r != VK_SUCCESS)
    return context_.error("no descriptor pool", r);
  return pool;
}

// Binds the launch's buffers: from each offset to the end of its memory, at most as much as the driver binds
// at once.
Status Kernels::bind(const Commands& commands, const Kernel& kernel, const Launch& launch) {
  const Api& api = context_.api;
  VkDescriptorSetAllocateInfo info{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                   .descriptorPool = commands.descriptors,
                                   .descriptorSetCount = 1,
                                   .pSetLayouts = &kernel.layout.set};
  VkDescriptorSet set = VK_NULL_HANDLE;
  if (VkResult r = api.AllocateDescriptorSets(context_.device, &info, &set); r != VK_SUCCESS)
    return context_.error("no descriptor set", r);
  const VkPhysicalDeviceLimits& limits = context_.properties.limits;
  ranges_.clear();
  for (const DeviceAddress& a : launch.buffers) {
    const auto& buffer = *static_cast<const Buffer*>(a.handle);
    internal_check(a.offset >= 0 && a.offset < buffer.bytes,
                   "vulkan device: a launch past the end of a buffer");
    if (static_cast<uint64_t>(a.offset) % limits.minStorageBufferOffsetAlignment != 0)
      return Status::error(str("vulkan device: kernel ", kernel.view.name, " has a buffer at offset ",
                               a.offset, ", this driver wants multiples of ",
                               limits.minStorageBufferOffsetAlignment, "; use --device cpu"));
    auto left = static_cast<VkDeviceSize>(buffer.bytes - a.offset);
    ranges_.push_back({buffer.buffer, static_cast<VkDeviceSize>(a.offset),
                       std::min<VkDeviceSize>(left, limits.maxStorageBufferRange / 16 * 16)});
  }
  VkWriteDescriptorSet write{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,  // fills consecutive bindings
                             .dstSet = set,
                             .descriptorCount = static_cast<uint32_t>(ranges_.size()),
                             .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                             .pBufferInfo = ranges_.data()};
  api.UpdateDescriptorSets(context_.device, 1, &write, 0, nullptr);
  api.CmdBindDescriptorSets(commands.buffer, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout.pipeline, 0, 1,
                            &set, 0, nullptr);
  return Status::ok();
}

Status Kernels::write_launch(const Commands& commands, const Launch& launch) {
  const Api& api = context_.api;
  internal_check(launch.kernel < kernels_.size(), "vulkan device: kernel index out of range");
  Kernel& kernel = kernels_[launch.kernel];
  RETURN_IF_ERROR(check_launch("vulkan", kernel.view, launch));
  if (launch.tiles == 0) return Status::ok();
  bool rows = launch.tiles > kSpirvGroupsPerRow;
  if (!kernel.pipelines[rows]) RETURN_IF_ERROR(make_pipeline(kernel, rows));
  std::array<int32_t, 33> constants;  // the dims of read_gpu_kernel's limit and the groups
  size_t count = 0;
  for (int64_t d : launch.dims) constants[count++] = static_cast<int32_t>(d);
  constants[count++] = static_cast<int32_t>(launch.tiles);
  api.CmdBindPipeline(commands.buffer, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipelines[rows]);
  RETURN_IF_ERROR(bind(commands, kernel, launch));
  api.CmdPushConstants(commands.buffer, kernel.layout.pipeline, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                       static_cast<uint32_t>(4 * count), constants.data());
  int64_t height = (launch.tiles + kSpirvGroupsPerRow - 1) / kSpirvGroupsPerRow;
  api.CmdDispatch(commands.buffer, static_cast<uint32_t>(std::min<int64_t>(launch.tiles, kSpirvGroupsPerRow)),
                  static_cast<uint32_t>(height), 1);
  return Status::ok();
}

Result<Commands> Kernels::record(std::span<const Launch> launches) {
  ASSIGN_OR_RETURN(Commands commands, context_.begin_commands());
  auto pool = make_pool(launches);
  Status written = pool.status();
  if (pool.is_ok()) commands.descriptors = *pool;
  for (size_t i = 0; i < launches.size() && written.is_ok(); ++i) {
    if (i > 0) context_.order(commands);
    written = write_launch(commands, launches[i]);
  }
  if (!written.is_ok()) {
    context_.release_commands(commands);
    return written;
  }
  RETURN_IF_ERROR(context_.end_commands(commands));
  return commands;
}

// One file per version of the driver: the UUID is the driver's own name of what it can read back.
std::string Kernels::cache_path() const {
  const VkPhysicalDeviceProperties& p = context_.properties;
  uint64_t id[2];
  std::memcpy(id, p.pipelineCacheUUID, sizeof id);
  return path_join(env::home(), str("vulkan/", p.vendorID, "-", p.deviceID, "-", p.driverVersion, "-", id[0],
                                    "-", id[1], ".bin"));
}

// A file that cannot be read or is refused counts as empty: the cache only saves time.
void Kernels::open_cache() {
  auto bytes = file_exists(cache_path()) ? read_file(cache_path()) : Result<std::string>(std::string());
  VkPipelineCacheCreateInfo info{.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  if (bytes.is_ok()) info.initialDataSize = bytes->size(), info.pInitialData = bytes->data();
  if (context_.api.CreatePipelineCache(context_.device, &info, nullptr, &cache_) == VK_SUCCESS) return;
  info.initialDataSize = 0;
  if (context_.api.CreatePipelineCache(context_.device, &info, nullptr, &cache_) != VK_SUCCESS)
    cache_ = VK_NULL_HANDLE;
}

void Kernels::save_cache() {
  size_t size = 0;
  const Api& api = context_.api;
  if (!cache_ || !cache_grew_ ||
      api.GetPipelineCacheData(context_.device, cache_, &size, nullptr) != VK_SUCCESS)
    return;
  std::string bytes(size, '\0');
  if (api.GetPipelineCacheData(context_.device, cache_, &size, bytes.data()) != VK_SUCCESS) return;
  if (make_directories(path_join(env::home(), "vulkan")).is_ok()) (void)write_file(cache_path(), bytes);
}

}  // namespace mlc::runtime::vulkan
