// Buffers and copies.
#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "runtime/devices/vulkan/context.h"

namespace mlc::runtime::vulkan {
namespace {

constexpr int64_t kStagingBytes = int64_t{16} << 20;

// The first memory type of `allowed` with all of the flags, or -1.
int find_type(const VkPhysicalDeviceMemoryProperties& memory, uint32_t allowed, VkMemoryPropertyFlags flags) {
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i)
    if ((allowed >> i & 1) && (memory.memoryTypes[i].propertyFlags & flags) == flags)
      return static_cast<int>(i);
  return -1;
}

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kReachable =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

}  // namespace

// `reachable`: the host must be able to write and read it directly; else that is so only where all memory is
// one.
Result<Buffer> Context::make_buffer(int64_t bytes, bool reachable) {
  auto refuse = [&](const std::string& why) {
    return Status::error(
        str("vulkan device: cannot allocate ", human_bytes(static_cast<double>(bytes)), why,
            "; lower context_window_size, prefill_chunk_size or max_batch_size in --overrides"));
  };
  if (bytes < 0) return Status::error("vulkan device: negative allocation");
  if (bytes > heap_bytes - live_bytes)
    return refuse(str(", ", human_bytes(static_cast<double>(heap_bytes - live_bytes)), " of ",
                      human_bytes(static_cast<double>(heap_bytes)), " of memory are free"));
  if (static_cast<uint64_t>(bytes) > maintenance.maxMemoryAllocationSize)
    return refuse(str(" in one piece, the driver gives at most ",
                      human_bytes(static_cast<double>(maintenance.maxMemoryAllocationSize))));
  Buffer b{.bytes = std::max<int64_t>((bytes + 15) / 16 * 16, 16)};
  VkBufferCreateInfo info{.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                          .size = static_cast<VkDeviceSize>(b.bytes),
                          .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                   VK_BUFFER_USAGE_TRANSFER_DST_BIT};
  if (VkResult r = api.CreateBuffer(device, &info, nullptr, &b.buffer); r != VK_SUCCESS)
    return refuse(": " + result_text(r));
  VkMemoryRequirements needs;
  api.GetBufferMemoryRequirements(device, b.buffer, &needs);
  int type = find_type(memory, needs.memoryTypeBits, kLocal | kReachable);
  bool one_memory =
      properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU && !settings.unreachable_memory;
  if (type < 0 || !(reachable || one_memory))
    type = find_type(memory, needs.memoryTypeBits, reachable ? kReachable : kLocal);
  VkMemoryAllocateInfo allocation{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                  .allocationSize = needs.size,
                                  .memoryTypeIndex = static_cast<uint32_t>(std::max(type, 0))};
  VkResult r =
      type < 0 ? VK_ERROR_OUT_OF_DEVICE_MEMORY : api.AllocateMemory(device, &allocation, nullptr, &b.memory);
  if (r == VK_SUCCESS) r = api.BindBufferMemory(device, b.buffer, b.memory, 0);
  bool map = (memory.memoryTypes[std::max(type, 0)].propertyFlags & kReachable) == kReachable &&
             (reachable || one_memory);
  void* mapped = nullptr;
  if (r == VK_SUCCESS && map) r = api.MapMemory(device, b.memory, 0, VK_WHOLE_SIZE, 0, &mapped);
  if (r != VK_SUCCESS) {
    api.DestroyBuffer(device, b.buffer, nullptr);
    if (b.memory) api.FreeMemory(device, b.memory, nullptr);
    return refuse(": " + result_text(r));
  }
  b.mapped = static_cast<std::byte*>(mapped);
  live_bytes += b.bytes;
  ++counters.allocations;
  return b;
}

void Context::destroy_buffer(const Buffer& b) {
  if (!b.buffer) return;
  api.DestroyBuffer(device, b.buffer, nullptr);
  api.FreeMemory(device, b.memory, nullptr);
  live_bytes -= b.bytes;
}

Status Context::ensure_staging() {
  if (staging.buffer) return Status::ok();
  ASSIGN_OR_RETURN(staging, make_buffer(kStagingBytes, true));
  return Status::ok();
}

Status Context::copy(VkBuffer from, int64_t from_offset, VkBuffer to, int64_t to_offset, int64_t bytes) {
  ASSIGN_OR_RETURN(Commands commands, begin_commands());
  VkBufferCopy region{static_cast<VkDeviceSize>(from_offset), static_cast<VkDeviceSize>(to_offset),
                      static_cast<VkDeviceSize>(bytes)};
  api.CmdCopyBuffer(commands.buffer, from, to, 1, &region);
  return run_once(commands);
}

Status Context::fill_with_zeros(const Buffer& b) {
  if (b.mapped) {
    std::memset(b.mapped, 0, static_cast<size_t>(b.bytes));
    return Status::ok();
  }
  ASSIGN_OR_RETURN(Commands commands, begin_commands());
  api.CmdFillBuffer(commands.buffer, b.buffer, 0, VK_WHOLE_SIZE, 0);
  return run_once(commands);
}

}  // namespace mlc::runtime::vulkan
