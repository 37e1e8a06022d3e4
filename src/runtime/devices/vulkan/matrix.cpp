// Asks a driver for matrix units.
#include "runtime/devices/vulkan/matrix.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace mlc::runtime::vulkan {
namespace {

// Matrices of halves need the Vulkan memory model and f16 arithmetic; both are extensions of Vulkan 1.1.
constexpr const char* kExtensions[] = {"VK_KHR_cooperative_matrix", VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME,
                                       VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME};
using ListShapes = VkResult(VKAPI_PTR*)(VkPhysicalDevice, uint32_t*, MatrixProperties*);

template <typename Function>
Function find(const Api& api, VkInstance instance, const char* name) {
  return reinterpret_cast<Function>(api.GetInstanceProcAddr(instance, name));
}

bool has_extensions(const Api& api, VkInstance instance, VkPhysicalDevice gpu) {
  auto list =
      find<PFN_vkEnumerateDeviceExtensionProperties>(api, instance, "vkEnumerateDeviceExtensionProperties");
  uint32_t count = 0;
  if (!list || list(gpu, nullptr, &count, nullptr) != VK_SUCCESS) return false;
  std::vector<VkExtensionProperties> found(count);
  if (list(gpu, nullptr, &count, found.data()) != VK_SUCCESS) return false;
  return std::all_of(std::begin(kExtensions), std::end(kExtensions), [&](const char* name) {
    return std::any_of(found.begin(), found.end(),
                       [&](const auto& e) { return std::strcmp(e.extensionName, name) == 0; });
  });
}

}  // namespace

void MatrixSupport::probe(const Api& api, VkInstance instance, VkPhysicalDevice gpu) {
  auto get_features = find<PFN_vkGetPhysicalDeviceFeatures2>(api, instance, "vkGetPhysicalDeviceFeatures2");
  if (!get_features || !has_extensions(api, instance, gpu)) return;
  halves_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  memory_model_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES,
                   .pNext = &halves_};
  matrix_.next = &memory_model_;
  VkPhysicalDeviceFeatures2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &matrix_};
  get_features(gpu, &all);
  if (!matrix_.matrix || !memory_model_.vulkanMemoryModel || !halves_.shaderFloat16) return;
  matrix_.robust_access = VK_FALSE;  // what is not used is not turned on
  memory_model_.vulkanMemoryModelDeviceScope = memory_model_.vulkanMemoryModelAvailabilityVisibilityChains =
      VK_FALSE;
  halves_.shaderInt8 = VK_FALSE;

  auto list = find<ListShapes>(api, instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
  uint32_t count = 0;
  if (!list || list(gpu, &count, nullptr) != VK_SUCCESS) return;
  std::vector<MatrixProperties> listed(count);
  if (list(gpu, &count, listed.data()) != VK_SUCCESS) return;
  shapes_ = matrix_shapes(listed);
  if (!shapes_.empty()) extensions_.assign(std::begin(kExtensions), std::end(kExtensions));
}

std::vector<std::string> matrix_shapes(const std::vector<MatrixProperties>& listed) {
  std::vector<std::string> out;
  for (const MatrixProperties& p : listed) {
    bool fits = p.a == kComponentFloat16 && p.b == kComponentFloat16 && p.c == kComponentFloat32 &&
                p.result == kComponentFloat32 && p.scope == kScopeSubgroup && !p.saturating;
    std::string name = str("matrix_f16_", p.rows, "x", p.columns, "x", p.depth);
    if (fits && std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  return out;
}

}  // namespace mlc::runtime::vulkan
