// The Vulkan device's state: instance, chosen GPU, queue, what the driver said last.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/devices/vulkan/api.h"
#include "runtime/devices/vulkan/matrix.h"
#include "runtime/devices/vulkan/vulkan.h"

// Returns Context::error(what, ...) from a member function of Context when the call fails.
#define VK_TRY(call, what) \
  if (VkResult result_ = (call); result_ != VK_SUCCESS) return error(what, result_)

namespace mlc::runtime::vulkan {

// Messages of the driver and of validation layers; written from any thread.
struct Messages {
  std::mutex mutex;
  std::vector<std::string> lines;  // first line of each error
};

// A buffer with memory of its own; DeviceBuffer::handle points to one.
struct Buffer {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* mapped = nullptr;  // null: the host reaches it through staging
  int64_t bytes = 0;            // as allocated, a multiple of 16
};

// Launches in a command buffer with their descriptor sets.
struct Commands {
  VkCommandBuffer buffer = VK_NULL_HANDLE;
  VkDescriptorPool descriptors = VK_NULL_HANDLE;
};

struct Context {
  Context() = default;
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Errors: no device of that index (how many there are), or one that lacks what every variant needs.
  Status open(int index, const VulkanSettings& settings);
  // A sentence with the result and the driver's last message, if any.
  Status error(const std::string& what, VkResult result);

  // memory.cpp
  Result<Buffer> make_buffer(int64_t bytes, bool reachable);
  void destroy_buffer(const Buffer& buffer);
  Status copy(VkBuffer from, int64_t from_offset, VkBuffer to, int64_t to_offset, int64_t bytes);
  Status fill_with_zeros(const Buffer& buffer);
  Status ensure_staging();

  // commands.cpp
  Result<Commands> begin_commands();
  void order(const Commands& commands);  // what follows sees the stores of what stands before
  Status end_commands(const Commands& commands);
  void release_commands(const Commands& commands);
  Status queue(const Commands& commands);
  Status run_once(const Commands& commands);  // ends, queues and releases them
  Status wait();                              // for all that is queued; frees what was queued once
  Result<bool> idle();                        // whether the first submission since then has run; never waits

  Api api;
  VulkanSettings settings;
  Messages messages;
  VkInstance instance = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  int gpu_count = 0;
  VkPhysicalDevice gpu = VK_NULL_HANDLE;  // the chosen one
  VkPhysicalDeviceProperties properties{};
  VkPhysicalDeviceSubgroupProperties subgroups{};
  VkPhysicalDeviceMaintenance3Properties maintenance{};
  VkPhysicalDeviceMemoryProperties memory{};
  MatrixSupport matrices;
  uint32_t queue_family = 0;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue compute_queue = VK_NULL_HANDLE;
  VkCommandPool command_pool = VK_NULL_HANDLE;
  Buffer staging;
  int64_t heap_bytes = 0, live_bytes = 0;  // device memory: what there is, what we hold
  bool pending = false;                    // something was queued since the last wait()
  VkFence fence = VK_NULL_HANDLE;          // of the first submission since then
  int submitted = 0;                       // since then
  std::vector<Commands> queued_once;       // to release when it has run
  bool reading = false;                    // poll() is to fill read_to
  std::span<std::byte> read_to;
  DeviceAddress read_from;
  VulkanCounters counters;

 private:
  Status create_instance();
  Status choose_gpu(int index);
  Status create_device();
};

}  // namespace mlc::runtime::vulkan
