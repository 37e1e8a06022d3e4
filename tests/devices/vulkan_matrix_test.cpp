// What the Vulkan device turns on for matrix units, asked of a driver made of the functions below: no
// software driver here has any.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/target/target.h"
#include "runtime/devices/registry.h"
#include "runtime/devices/vulkan/matrix.h"
#include "support/compiled_model.h"
#include "support/interpreted_library.h"
#include "support/npy.h"

namespace mlc::testing {
namespace {

using namespace runtime::vulkan;

struct Driver {
  std::vector<std::string> extensions = {"VK_KHR_cooperative_matrix",
                                         VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME,
                                         VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, "VK_EXT_other"};
  bool matrix = true, memory_model = true, halves = true;
  std::vector<MatrixProperties> shapes = {shape(16, 16, 16), shape(16, 8, 16)};

  static MatrixProperties shape(uint32_t rows, uint32_t columns, uint32_t depth) {
    MatrixProperties p;
    p.rows = rows, p.columns = columns, p.depth = depth;
    p.a = p.b = kComponentFloat16, p.c = p.result = kComponentFloat32;
    p.scope = kScopeSubgroup;
    return p;
  }
};
Driver driver;

VkResult VKAPI_CALL list_extensions(VkPhysicalDevice, const char*, uint32_t* count,
                                    VkExtensionProperties* out) {
  if (out)
    for (size_t i = 0; i < driver.extensions.size(); ++i)
      std::strcpy(out[i].extensionName, driver.extensions[i].c_str());
  *count = static_cast<uint32_t>(driver.extensions.size());
  return VK_SUCCESS;
}

void VKAPI_CALL get_features(VkPhysicalDevice, VkPhysicalDeviceFeatures2* all) {
  for (auto* next = static_cast<VkBaseOutStructure*>(all->pNext); next; next = next->pNext) {
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES)
      reinterpret_cast<VkPhysicalDeviceVulkanMemoryModelFeatures*>(next)->vulkanMemoryModel =
          driver.memory_model;
    else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES)
      reinterpret_cast<VkPhysicalDeviceShaderFloat16Int8Features*>(next)->shaderFloat16 = driver.halves;
    else
      reinterpret_cast<MatrixFeatures*>(next)->matrix = driver.matrix;
  }
}

VkResult VKAPI_CALL list_shapes(VkPhysicalDevice, uint32_t* count, MatrixProperties* out) {
  if (out) std::copy(driver.shapes.begin(), driver.shapes.end(), out);
  *count = static_cast<uint32_t>(driver.shapes.size());
  return VK_SUCCESS;
}

PFN_vkVoidFunction VKAPI_CALL find_function(VkInstance, const char* name) {
  if (std::strcmp(name, "vkEnumerateDeviceExtensionProperties") == 0)
    return reinterpret_cast<PFN_vkVoidFunction>(list_extensions);
  if (std::strcmp(name, "vkGetPhysicalDeviceFeatures2") == 0)
    return reinterpret_cast<PFN_vkVoidFunction>(get_features);
  if (std::strcmp(name, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR") == 0)
    return reinterpret_cast<PFN_vkVoidFunction>(list_shapes);
  return nullptr;
}

// The shapes found; also that extensions and features are turned on with them and not without.
std::vector<std::string> probe(const Driver& what) {
  driver = what;
  Api api;
  api.GetInstanceProcAddr = find_function;
  MatrixSupport support;
  support.probe(api, VK_NULL_HANDLE, VK_NULL_HANDLE);
  EXPECT_EQ(support.extensions().size(), support.shapes().empty() ? 0u : 3u);
  EXPECT_EQ(support.features() == nullptr, support.shapes().empty());
  return support.shapes();
}

TEST(VulkanMatrix, TheShapesOfTheDriverAreFeatures) {
  EXPECT_EQ(probe({}), (std::vector<std::string>{"matrix_f16_16x16x16", "matrix_f16_16x8x16"}));
}

TEST(VulkanMatrix, NothingIsTurnedOnWhereAnythingIsMissing) {
  for (size_t i = 0; i < 3; ++i) {
    Driver d;
    d.extensions.erase(d.extensions.begin() + long(i));
    EXPECT_TRUE(probe(d).empty()) << "without extension " << i;
  }
  for (bool Driver::* feature : {&Driver::matrix, &Driver::memory_model, &Driver::halves}) {
    Driver d;
    d.*feature = false;
    EXPECT_TRUE(probe(d).empty());
  }
  Driver none;
  none.shapes.clear();
  EXPECT_TRUE(probe(none).empty());
}

TEST(VulkanMatrix, OtherTypesAndScopesDoNotCount) {
  const MatrixProperties good = Driver::shape(16, 16, 16);
  std::vector<MatrixProperties> others(5, good);
  others[0].a = 3;  // s8
  others[1].result = others[1].c = kComponentFloat16;
  others[2].scope = 2;  // a work group
  others[3].saturating = VK_TRUE;
  others[4].b = kComponentFloat32;
  EXPECT_TRUE(matrix_shapes(others).empty());
  EXPECT_EQ(matrix_shapes({good, good}).size(), 1u);
}

// The features' names are those that the variants require, and a device without them takes the next variant.
TEST(VulkanMatrix, AVariantForMatrixUnitsIsPassedOverWithoutThem) {
  const std::vector<Target> targets = targets_for_device("vulkan-nvidia").value();
  ASSERT_EQ(targets.size(), 3u);
  EXPECT_EQ(targets[0].required.back(), probe({}).front());
  const std::vector<Target> common = targets_for_device("vulkan").value();
  EXPECT_TRUE(std::any_of(common.begin(), common.end(),
                          [](const Target& t) { return t.required.back() == "matrix_f16_16x16x16"; }));
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 2,
             {targets[0], targets_for_device("vulkan")->back()});
  const runtime::DevicePtr device = must(runtime::open_device("vulkan"));
  EXPECT_EQ(must(runtime::Module::load(*device, folder.file("model.so")))->variant(), "vulkan");
}

// O0 keeps floats: no variant that rounds factors to halves.
TEST(VulkanMatrix, IsNotUsedAtO0) {
  for (int level : {0, 2}) {
    CompileOptions options;
    options.opt_level = level;
    options.targets = targets_for_device("vulkan-nvidia").value();
    const CompiledModel compiled =
        must(compile_model(toy_config("llama", "q4f16_1"), "mlc-chat-config.json", options));
    EXPECT_EQ(compiled.manifest["library"]["variants"].size(), level == 0 ? 2u : 3u);
  }
}

// A whole toy with the kernels for NVIDIA's matrix unit, in the interpreter, beside those without: every
// prefill matmul rounds its factors to halves, as two layers of two or three computations with 11-bit numbers
// do.
TEST(VulkanMatrix, AToyHasItsLogitsWithinTheRoundingToHalves) {
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
  register_interpreter_device();
  std::vector<int32_t> tokens = read_npy(toy_file("llama", "tokens.npy")).ints;
  tokens.insert(tokens.end(), tokens.begin(), tokens.end());  // more than 16 rows
  std::vector<std::vector<float>> logits;
  for (size_t variant : {0, 1}) {
    CompileOptions options;
    options.targets = {targets_for_device("vulkan-nvidia")->at(variant)};
    const auto library = interpreted(toy_config("llama", "q4f16_1"), options);
    LoadedModel m;
    m.device = must(runtime::open_device("interpreter"));
    m.module = must(runtime::Module::wrap(*m.device, **library, "toy"));
    m.model = must(
        runtime::Model::load(*m.device, m.module, folder.path(), {.max_sequences = 1, .context_tokens = 64}));
    must(m->sequences().add(1));
    logits.push_back(m.step({{1, tokens}}, runtime::WantLogits::kAll));
  }
  double difference = 0, size = 0;
  for (size_t i = 0; i < logits[0].size(); ++i) {
    difference += std::pow(double{logits[0][i]} - logits[1][i], 2);
    size += std::pow(double{logits[1][i]}, 2);
  }
  const double bound = 2 * std::ldexp(std::sqrt(8.0 * 2 + 2), -11);
  EXPECT_LT(std::sqrt(difference / size), bound);
  EXPECT_GT(difference, 0) << "the unit was not used";
}

}  // namespace
}  // namespace mlc::testing
