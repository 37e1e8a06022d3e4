// Finds Vulkan's functions.
#include "runtime/devices/vulkan/api.h"

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::runtime::vulkan {
namespace {

Status missing(const char* name) {
  return Status::error(
      str("vulkan device: the driver has no function vk", name, "; update it, or use --device cpu"));
}

// Sets `function` to what `find` says of its name.
template <typename Function, typename Find>
bool set(Function& function, const Find& find, const char* name) {
  function = reinterpret_cast<Function>(find(name));
  return function != nullptr;
}

#define MLC_VULKAN_FIND(name) \
  if (!set(name, find, "vk" #name)) return missing(#name);
#define MLC_VULKAN_FIND_IN_API(name) \
  if (!set(api.name, find, "vk" #name)) return missing(#name);

}  // namespace

Result<Api> Api::open() {
  static void* loader = platform::open_driver({"libvulkan.so.1", "libvulkan.1.dylib", "vulkan-1.dll"});
  if (!loader)
    return Status::error(
        "--device vulkan: no Vulkan loader (libvulkan.so.1) was found; install your GPU's driver (Debian: "
        "libvulkan1 and mesa-vulkan-drivers), or use --device cpu");
  Api api;
  api.GetInstanceProcAddr =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(platform::find_symbol(loader, "vkGetInstanceProcAddr"));
  if (!api.GetInstanceProcAddr) return missing("GetInstanceProcAddr");
  auto find = [&](const char* name) { return api.GetInstanceProcAddr(nullptr, name); };
  MLC_VULKAN_GLOBAL(MLC_VULKAN_FIND_IN_API)
  return api;
}

Status Api::find_instance_functions(VkInstance instance) {
  auto find = [&](const char* name) { return GetInstanceProcAddr(instance, name); };
  MLC_VULKAN_INSTANCE(MLC_VULKAN_FIND)
  set(CreateDebugUtilsMessengerEXT, find, "vkCreateDebugUtilsMessengerEXT");
  set(DestroyDebugUtilsMessengerEXT, find, "vkDestroyDebugUtilsMessengerEXT");
  return Status::ok();
}

Status Api::find_device_functions(VkDevice device) {
  auto find = [&](const char* name) { return GetDeviceProcAddr(device, name); };
  MLC_VULKAN_DEVICE(MLC_VULKAN_FIND)
  return Status::ok();
}

std::string result_text(VkResult result) {
  switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "out of host memory";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "out of device memory";
    case VK_ERROR_DEVICE_LOST: return "the device was lost";
    case VK_ERROR_LAYER_NOT_PRESENT: return "a layer is not installed";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "no compatible driver";
    default: return str("VkResult ", static_cast<int>(result));
  }
}

}  // namespace mlc::runtime::vulkan
