// Command buffers: begun, ended, queued and waited for.
#include "base/strings.h"
#include "runtime/devices/vulkan/context.h"

namespace mlc::runtime::vulkan {
namespace {

constexpr VkAccessFlags kAnyWrite = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags kAnyUse = kAnyWrite | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT;
constexpr VkPipelineStageFlags kAnyStage =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;

void barrier(const Api& api, VkCommandBuffer commands, VkPipelineStageFlags to, VkAccessFlags uses) {
  VkMemoryBarrier all{
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = kAnyWrite, .dstAccessMask = uses};
  api.CmdPipelineBarrier(commands, kAnyStage, to, 0, 1, &all, 0, nullptr, 0, nullptr);
}

}  // namespace

void Context::order(const Commands& commands) { barrier(api, commands.buffer, kAnyStage, kAnyUse); }

// The commands see all stores of what was queued before.
Result<Commands> Context::begin_commands() {
  Commands commands;
  VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                   .commandPool = command_pool,
                                   .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                   .commandBufferCount = 1};
  VK_TRY(api.AllocateCommandBuffers(device, &info, &commands.buffer), "no command buffer");
  VkCommandBufferBeginInfo begin{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  VkResult begun = api.BeginCommandBuffer(commands.buffer, &begin);
  if (begun != VK_SUCCESS) release_commands(commands);
  VK_TRY(begun, "a command buffer cannot be begun");
  order(commands);
  ++counters.recordings;
  return commands;
}

Status Context::end_commands(const Commands& commands) {
  barrier(api, commands.buffer, VK_PIPELINE_STAGE_HOST_BIT,
          VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
  VkResult ended = api.EndCommandBuffer(commands.buffer);
  if (ended != VK_SUCCESS) release_commands(commands);
  VK_TRY(ended, "a command buffer cannot be ended");
  return Status::ok();
}

void Context::release_commands(const Commands& commands) {
  api.FreeCommandBuffers(device, command_pool, 1, &commands.buffer);
  if (commands.descriptors) api.DestroyDescriptorPool(device, commands.descriptors, nullptr);
}

Status Context::queue(const Commands& commands) {
  VkSubmitInfo info{
      .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands.buffer};
  VK_TRY(api.QueueSubmit(compute_queue, 1, &info, submitted == 0 ? fence : VK_NULL_HANDLE),
         "launches cannot be submitted");
  pending = true;
  ++submitted;
  ++counters.submits;
  return Status::ok();
}

Status Context::run_once(const Commands& commands) {
  RETURN_IF_ERROR(end_commands(commands));
  queued_once.push_back(commands);
  RETURN_IF_ERROR(queue(commands));
  return wait();
}

Result<bool> Context::idle() {
  if (!pending) return true;
  VkResult r = api.GetFenceStatus(device, fence);
  if (r == VK_SUCCESS || r == VK_NOT_READY) return r == VK_SUCCESS;
  return error("launches did not finish", r);
}

Status Context::wait() {
  VkResult r = pending ? api.QueueWaitIdle(compute_queue) : VK_SUCCESS;
  if (submitted > 0) (void)api.ResetFences(device, 1, &fence);
  pending = false;
  submitted = 0;
  for (const Commands& c : queued_once) release_commands(c);
  queued_once.clear();
  return r == VK_SUCCESS ? Status::ok() : error("launches did not finish", r);
}

}  // namespace mlc::runtime::vulkan
