// The functions of Vulkan that the device calls, found in the loader at run time: nothing is linked.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "base/status.h"

namespace mlc::runtime::vulkan {

// Found with no instance, with an instance, with a device.
#define MLC_VULKAN_GLOBAL(X) \
  X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceExtensionProperties)
#define MLC_VULKAN_INSTANCE(X)         \
  X(DestroyInstance)                   \
  X(EnumeratePhysicalDevices)          \
  X(GetPhysicalDeviceProperties2)      \
  X(GetPhysicalDeviceMemoryProperties) \
  X(GetPhysicalDeviceQueueFamilyProperties) X(GetDeviceProcAddr) X(CreateDevice)
#define MLC_VULKAN_DEVICE(X)                                                                          \
  X(DestroyDevice)                                                                                    \
  X(GetDeviceQueue)                                                                                   \
  X(QueueSubmit)                                                                                      \
  X(QueueWaitIdle)                                                                                    \
  X(CreateFence)                                                                                      \
  X(DestroyFence) X(ResetFences) X(GetFenceStatus) X(CreateBuffer) X(DestroyBuffer)                   \
      X(GetBufferMemoryRequirements) X(AllocateMemory) X(FreeMemory) X(BindBufferMemory) X(MapMemory) \
          X(CreateShaderModule) X(DestroyShaderModule) X(CreateDescriptorSetLayout)                   \
              X(DestroyDescriptorSetLayout) X(CreatePipelineLayout) X(DestroyPipelineLayout)          \
                  X(CreatePipelineCache) X(DestroyPipelineCache) X(GetPipelineCacheData)              \
                      X(CreateComputePipelines) X(DestroyPipeline) X(CreateDescriptorPool)            \
                          X(DestroyDescriptorPool) X(AllocateDescriptorSets) X(UpdateDescriptorSets)  \
                              X(CreateCommandPool) X(DestroyCommandPool) X(AllocateCommandBuffers)    \
                                  X(FreeCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer)     \
                                      X(CmdBindPipeline) X(CmdBindDescriptorSets) X(CmdPushConstants) \
                                          X(CmdDispatch) X(CmdPipelineBarrier) X(CmdCopyBuffer)       \
                                              X(CmdFillBuffer)

struct Api {
#define MLC_VULKAN_MEMBER(name) PFN_vk##name name = nullptr;
  MLC_VULKAN_GLOBAL(MLC_VULKAN_MEMBER)
  MLC_VULKAN_INSTANCE(MLC_VULKAN_MEMBER)
  MLC_VULKAN_DEVICE(MLC_VULKAN_MEMBER)
#undef MLC_VULKAN_MEMBER
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  PFN_vkCreateDebugUtilsMessengerEXT CreateDebugUtilsMessengerEXT = nullptr;  // null where no layer or driver
  PFN_vkDestroyDebugUtilsMessengerEXT DestroyDebugUtilsMessengerEXT = nullptr;  // has messages

  // Opens the loader (once; it stays open). Error: there is none, with what to install.
  static Result<Api> open();
  // Errors: a function is missing.
  Status find_instance_functions(VkInstance instance);
  Status find_device_functions(VkDevice device);
};

// "the device was lost", or the number of a result without words here.
std::string result_text(VkResult result);

}  // namespace mlc::runtime::vulkan
