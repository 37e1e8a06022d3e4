// Opens instance, GPU and queue.
#include "runtime/devices/vulkan/context.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace mlc::runtime::vulkan {
namespace {

constexpr uint32_t kApiVersion = VK_API_VERSION_1_1;
constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
  auto& messages = *static_cast<Messages*>(self);
  std::lock_guard lock(messages.mutex);
  constexpr size_t kMost = 100;
  if (messages.lines.size() < kMost && data->pMessage)
    messages.lines.push_back(split(data->pMessage, '\n')[0]);
  return VK_FALSE;
}

VkDebugUtilsMessengerCreateInfoEXT messenger_info(Messages* messages) {
  return {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
          .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
          .messageType =
              VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
          .pfnUserCallback = on_message,
          .pUserData = messages};
}

bool has_messages(const Api& api) {
  uint32_t count = 0;
  api.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  api.EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data());
  return std::any_of(extensions.begin(), extensions.end(), [](const VkExtensionProperties& e) {
    return std::strcmp(e.extensionName, VK_EXT_DEBUG_UTILS_EXTENSION_NAME) == 0;
  });
}

int rank(VkPhysicalDeviceType type) {
  if (type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) return 0;
  return type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? 1
         : type == VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU  ? 2
                                                        : 3;
}

}  // namespace

Status Context::error(const std::string& what, VkResult result) {
  std::lock_guard lock(messages.mutex);
  std::string said = messages.lines.empty() ? "" : ": " + messages.lines.back();
  std::string advice =
      result == VK_ERROR_DEVICE_LOST ? "; restart to use the device again, or use --device cpu" : "";
  return Status::error(str("vulkan device: ", what, ": ", result_text(result), said, advice));
}

Status Context::create_instance() {
  ASSIGN_OR_RETURN(api, Api::open());
  VkApplicationInfo application{
      .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "mlc_llm", .apiVersion = kApiVersion};
  bool tells = has_messages(api) || settings.validation;
  VkDebugUtilsMessengerCreateInfoEXT listener = messenger_info(&messages);
  const char* extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  VkInstanceCreateInfo info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                            .pNext = tells ? &listener : nullptr,
                            .pApplicationInfo = &application,
                            .enabledLayerCount = settings.validation ? 1u : 0u,
                            .ppEnabledLayerNames = &kValidationLayer,
                            .enabledExtensionCount = tells ? 1u : 0u,
                            .ppEnabledExtensionNames = &extension};
  VK_TRY(api.CreateInstance(&info, nullptr, &instance),
         "no driver can be used (install your GPU's, or use --device cpu)");
  RETURN_IF_ERROR(api.find_instance_functions(instance));
  if (tells && api.CreateDebugUtilsMessengerEXT)
    api.CreateDebugUtilsMessengerEXT(instance, &listener, nullptr, &messenger);
  return Status::ok();
}

Status Context::choose_gpu(int index) {
  uint32_t count = 0;
  api.EnumeratePhysicalDevices(instance, &count, nullptr);
  std::vector<VkPhysicalDevice> found(count);
  api.EnumeratePhysicalDevices(instance, &count, found.data());
  if (count == 0)
    return Status::error(
        "--device vulkan: no Vulkan device was found; install your GPU's Vulkan driver (Debian: "
        "mesa-vulkan-drivers), or use --device cpu");
  auto rank_of = [&](VkPhysicalDevice device) {
    VkPhysicalDeviceProperties2 p{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    api.GetPhysicalDeviceProperties2(device, &p);
    return rank(p.properties.deviceType);
  };
  std::stable_sort(found.begin(), found.end(),
                   [&](VkPhysicalDevice a, VkPhysicalDevice b) { return rank_of(a) < rank_of(b); });
  if (index < 0 || static_cast<uint32_t>(index) >= count)
    return Status::error(str("--device vulkan:", index, ": there are ", count,
                             " Vulkan devices, numbered from 0; run `mlc_llm devices`"));
  gpu = found[static_cast<size_t>(index)];
  gpu_count = static_cast<int>(count);
  subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  maintenance.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  subgroups.pNext = &maintenance;
  VkPhysicalDeviceProperties2 p{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroups};
  api.GetPhysicalDeviceProperties2(gpu, &p);
  properties = p.properties;
  if (properties.apiVersion < kApiVersion)
    return Status::error(str("--device vulkan: ", properties.deviceName, " has Vulkan ",
                             VK_API_VERSION_MAJOR(properties.apiVersion), ".",
                             VK_API_VERSION_MINOR(properties.apiVersion),
                             ", expected 1.1; update its driver, or use --device cpu"));
  api.GetPhysicalDeviceMemoryProperties(gpu, &memory);
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      heap_bytes = std::max(heap_bytes, static_cast<int64_t>(memory.memoryHeaps[i].size));
  return Status::ok();
}

Status Context::create_device() {
  uint32_t count = 0;
  api.GetPhysicalDeviceQueueFamilyProperties(gpu, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  api.GetPhysicalDeviceQueueFamilyProperties(gpu, &count, families.data());
  auto family = std::find_if(families.begin(), families.end(), [](const VkQueueFamilyProperties& f) {
    return f.queueFlags & VK_QUEUE_COMPUTE_BIT;
  });
  if (family == families.end())
    return Status::error(
        str("--device vulkan: ", properties.deviceName, " has no compute queue; use --device cpu"));
  queue_family = static_cast<uint32_t>(family - families.begin());
  float priority = 1;
  VkDeviceQueueCreateInfo queue{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                .queueFamilyIndex = queue_family,
                                .queueCount = 1,
                                .pQueuePriorities = &priority};
  matrices.probe(api, instance, gpu);
  VkDeviceCreateInfo info{.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                          .pNext = matrices.features(),
                          .queueCreateInfoCount = 1,
                          .pQueueCreateInfos = &queue,
                          .enabledExtensionCount = static_cast<uint32_t>(matrices.extensions().size()),
                          .ppEnabledExtensionNames = matrices.extensions().data()};
  VK_TRY(api.CreateDevice(gpu, &info, nullptr, &device), str(properties.deviceName, " cannot be opened"));
  RETURN_IF_ERROR(api.find_device_functions(device));
  api.GetDeviceQueue(device, queue_family, 0, &compute_queue);
  VkCommandPoolCreateInfo pool{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                               .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                               .queueFamilyIndex = queue_family};
  VK_TRY(api.CreateCommandPool(device, &pool, nullptr, &command_pool), "no command pool");
  VkFenceCreateInfo unsignaled{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VK_TRY(api.CreateFence(device, &unsignaled, nullptr, &fence), "no fence");
  return Status::ok();
}

Status Context::open(int index, const VulkanSettings& wanted) {
  settings = wanted;
  RETURN_IF_ERROR(create_instance());
  RETURN_IF_ERROR(choose_gpu(index));
  return create_device();
}

Context::~Context() {
  if (command_pool) {
    (void)wait();
    destroy_buffer(staging);
    if (fence) api.DestroyFence(device, fence, nullptr);
    api.DestroyCommandPool(device, command_pool, nullptr);
  }
  if (device && api.DestroyDevice) api.DestroyDevice(device, nullptr);
  if (messenger) api.DestroyDebugUtilsMessengerEXT(instance, messenger, nullptr);
  if (instance && api.DestroyInstance) api.DestroyInstance(instance, nullptr);
}

}  // namespace mlc::runtime::vulkan
