// Whether a GPU offers matrix units as kernels use them (VK_KHR_cooperative_matrix): the extensions and
// features that turn them on, and the shapes it multiplies. Debian's Vulkan headers are older than the
// extension, so its structures stand here.
#pragma once

#include <string>
#include <vector>

#include "runtime/devices/vulkan/api.h"

namespace mlc::runtime::vulkan {

// VkCooperativeMatrixPropertiesKHR, with the numbers of VkComponentTypeKHR and VkScopeKHR.
struct MatrixProperties {
  VkStructureType type = static_cast<VkStructureType>(1000506001);
  void* next = nullptr;
  uint32_t rows = 0, columns = 0, depth = 0;
  int32_t a = 0, b = 0, c = 0, result = 0;
  VkBool32 saturating = VK_FALSE;
  int32_t scope = 0;
};
inline constexpr int32_t kComponentFloat16 = 0, kComponentFloat32 = 1, kScopeSubgroup = 3;

// VkPhysicalDeviceCooperativeMatrixFeaturesKHR.
struct MatrixFeatures {
  VkStructureType type = static_cast<VkStructureType>(1000506000);
  void* next = nullptr;
  VkBool32 matrix = VK_FALSE, robust_access = VK_FALSE;
};

// What vkCreateDevice is told so that kernels with matrices run: extensions, and features as the pNext of its
// structure. Empty where the GPU lacks one of them. Not to be moved: the features point to each other.
class MatrixSupport {
 public:
  MatrixSupport() = default;
  MatrixSupport(const MatrixSupport&) = delete;
  MatrixSupport& operator=(const MatrixSupport&) = delete;

  void probe(const Api& api, VkInstance instance, VkPhysicalDevice gpu);

  const std::vector<const char*>& extensions() const { return extensions_; }
  const void* features() const { return extensions_.empty() ? nullptr : &matrix_; }
  // "matrix_f16_16x16x16": f16 x f16 -> f32 of a subgroup, rows x columns x depth, once each.
  const std::vector<std::string>& shapes() const { return shapes_; }

 private:
  std::vector<const char*> extensions_;
  std::vector<std::string> shapes_;
  MatrixFeatures matrix_;
  VkPhysicalDeviceVulkanMemoryModelFeatures memory_model_{};
  VkPhysicalDeviceShaderFloat16Int8Features halves_{};
};

// The shapes that kernels use among those that a driver lists, in the names of Target::required.
std::vector<std::string> matrix_shapes(const std::vector<MatrixProperties>& listed);

}  // namespace mlc::runtime::vulkan
