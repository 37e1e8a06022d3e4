// Finds Vulkan's functions.
#include "runtime/devices/vulkan/api.h"

#include <dlfcn.h>

#include "base/strings.h"

namespace mlc::runtime::vulkan {
namespace {

Status missing(const char* name) {
  return Status::error(str("vulkan device: the driver has no function vk", name, "; update it, or use --device cpu"));
}

}  // namespace

Result<Api> Api::open() {
  static void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!loader)
    return Status::error("--device vulkan: no Vulkan loader (libvulkan.so.1) was found; install your GPU's driver (Debian: "
                         "libvulkan1 and mesa-vulkan-drivers), or use --device cpu");
  Api api;
  api.GetInstanceProcAddr = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(loader, "vkGetInstanceProcAddr"));
  if (!api.GetInstanceProcAddr) return missing("GetInstanceProcAddr");
#define MLC_VULKAN_FIND(name)                                                                           \
  api.name = reinterpret_cast<PFN_vk##name>(api.GetInstanceProcAddr(nullptr, "vk" #name)); \
  if (!api.name) return missing(#name);
  MLC_VULKAN_GLOBAL(MLC_VULKAN_FIND)
#undef MLC_VULKAN_FIND
  return api;
}

Status Api::find_instance_functions(VkInstance instance) {
#define MLC_VULKAN_FIND(name)                                                            \
  name = reinterpret_cast<PFN_vk##name>(GetInstanceProcAddr(instance, "vk" #name)); \
  if (!name) return missing(#name);
  MLC_VULKAN_INSTANCE(MLC_VULKAN_FIND)
#undef MLC_VULKAN_FIND
  CreateDebugUtilsMessengerEXT = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      GetInstanceProcAddr(instance, "vkCreateDebugUtilsMessengerEXT"));
  DestroyDebugUtilsMessengerEXT = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
      GetInstanceProcAddr(instance, "vkDestroyDebugUtilsMessengerEXT"));
  return Status::ok();
}

Status Api::find_device_functions(VkDevice device) {
#define MLC_VULKAN_FIND(name)                                                     \
  name = reinterpret_cast<PFN_vk##name>(GetDeviceProcAddr(device, "vk" #name)); \
  if (!name) return missing(#name);
  MLC_VULKAN_DEVICE(MLC_VULKAN_FIND)
#undef MLC_VULKAN_FIND
  return Status::ok();
}

std::string result_text(VkResult result) {
  switch (result) {
#define MLC_VULKAN_RESULT(name) \
  case name: return #name
    MLC_VULKAN_RESULT(VK_ERROR_OUT_OF_HOST_MEMORY);
    MLC_VULKAN_RESULT(VK_ERROR_OUT_OF_DEVICE_MEMORY);
    MLC_VULKAN_RESULT(VK_ERROR_INITIALIZATION_FAILED);
    MLC_VULKAN_RESULT(VK_ERROR_DEVICE_LOST);
    MLC_VULKAN_RESULT(VK_ERROR_MEMORY_MAP_FAILED);
    MLC_VULKAN_RESULT(VK_ERROR_LAYER_NOT_PRESENT);
    MLC_VULKAN_RESULT(VK_ERROR_EXTENSION_NOT_PRESENT);
    MLC_VULKAN_RESULT(VK_ERROR_FEATURE_NOT_PRESENT);
    MLC_VULKAN_RESULT(VK_ERROR_INCOMPATIBLE_DRIVER);
    MLC_VULKAN_RESULT(VK_ERROR_TOO_MANY_OBJECTS);
    MLC_VULKAN_RESULT(VK_ERROR_INVALID_SHADER_NV);
    MLC_VULKAN_RESULT(VK_ERROR_UNKNOWN);
#undef MLC_VULKAN_RESULT
    default: return str("VkResult ", static_cast<int>(result));
  }
}

}  // namespace mlc::runtime::vulkan
