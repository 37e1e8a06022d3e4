// Drivers that lose the device or run out of memory while a model is loaded or runs: functions of the driver
// that fail are put into the devices' tables. Loading or the request ends with a sentence, the process goes
// on, and a new session works.
#include <gtest/gtest.h>

#include <functional>

#include "runtime/devices/opencl/api.h"
#include "runtime/devices/vulkan/context.h"
#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/gpu_devices.h"

namespace mlc::testing {
namespace {

using runtime::Device;
using Repair = std::function<void()>;
using OpenClApi = runtime::opencl::Api;
using VulkanApi = runtime::vulkan::Api;

VulkanApi& vulkan_api(Device& device) { return static_cast<runtime::vulkan::Context*>(device.self)->api; }
OpenClApi& opencl_api(Device&) { return *must(runtime::opencl::load_api_for_tests()); }

// A function of the driver's that fails, and what the sentence then says.
struct Fault {
  const char* function;
  std::string said;
  std::function<Repair(Device&)> inject;
};

// Puts `failing` into a driver's table.
template <typename Api, typename Function>
std::function<Repair(Device&)> replacing(Api& (*table)(Device&), Function Api::* member, Function failing) {
  return [=](Device& device) -> Repair {
    Api& api = table(device);
    Function works = api.*member;
    api.*member = failing;
    return [=, &api] { api.*member = works; };
  };
}

template <auto kResult, typename R, typename... Arguments>
R give(Arguments...) {
  return kResult;
}
template <auto kResult, typename Api, typename R, typename... Arguments>
std::function<Repair(Device&)> giving(Api& (*table)(Device&), R (*Api::*member)(Arguments...)) {
  return replacing(table, member, &give<kResult, R, Arguments...>);
}

template <typename Member>
Fault out_of_device_memory(const char* function, Member member, const std::string& advice = "") {
  return {function, "out of device memory" + advice,
          giving<VK_ERROR_OUT_OF_DEVICE_MEMORY>(vulkan_api, member)};
}

// A wait that fails still waits: nothing may run on when memory is given back.
template <auto kResult, typename Api, typename R, typename Queue>
std::function<Repair(Device&)> waiting(Api& (*table)(Device&), R (*Api::*member)(Queue)) {
  return [=](Device& device) -> Repair {
    static R (*works)(Queue) = table(device).*member;
    return replacing(table, member, +[](Queue queue) -> R { return works(queue), kResult; })(device);
  };
}

// In a step that the driver has run before, or in any.
std::vector<Fault> step_faults(const std::string& kind) {
  if (kind == "vulkan")
    return {{"vkQueueSubmit", "the device was lost; restart",
             giving<VK_ERROR_DEVICE_LOST>(vulkan_api, &VulkanApi::QueueSubmit)},
            out_of_device_memory("vkQueueSubmit", &VulkanApi::QueueSubmit),
            {"vkQueueWaitIdle", "the device was lost; restart",
             waiting<VK_ERROR_DEVICE_LOST>(vulkan_api, &VulkanApi::QueueWaitIdle)}};
  return {{"clEnqueueNDRangeKernel", "CL_OUT_OF_RESOURCES",
           giving<CL_OUT_OF_RESOURCES>(opencl_api, &OpenClApi::clEnqueueNDRangeKernel)},
          {"clEnqueueWriteBuffer", "CL_OUT_OF_HOST_MEMORY",
           giving<CL_OUT_OF_HOST_MEMORY>(opencl_api, &OpenClApi::clEnqueueWriteBuffer)},
          {"clEnqueueReadBuffer", "CL_DEVICE_NOT_AVAILABLE",
           giving<CL_DEVICE_NOT_AVAILABLE>(opencl_api, &OpenClApi::clEnqueueReadBuffer)},
          {"clFlush", "CL_OUT_OF_RESOURCES", giving<CL_OUT_OF_RESOURCES>(opencl_api, &OpenClApi::clFlush)},
          {"clFinish", "CL_DEVICE_NOT_AVAILABLE",
           waiting<CL_DEVICE_NOT_AVAILABLE>(opencl_api, &OpenClApi::clFinish)}};
}

// In a step of a size that was not met before, whose launches are recorded.
std::vector<Fault> recording_faults(const std::string& kind) {
  if (kind == "vulkan")
    return {out_of_device_memory("vkAllocateCommandBuffers", &VulkanApi::AllocateCommandBuffers),
            {"vkBeginCommandBuffer", "out of host memory",
             giving<VK_ERROR_OUT_OF_HOST_MEMORY>(vulkan_api, &VulkanApi::BeginCommandBuffer)},
            out_of_device_memory("vkEndCommandBuffer", &VulkanApi::EndCommandBuffer),
            out_of_device_memory("vkCreateDescriptorPool", &VulkanApi::CreateDescriptorPool),
            out_of_device_memory("vkAllocateDescriptorSets", &VulkanApi::AllocateDescriptorSets)};
  auto no_kernel = +[](cl_program, const char*, cl_int* code) -> cl_kernel {
    return *code = CL_OUT_OF_HOST_MEMORY, nullptr;
  };
  return {{"clSetKernelArg", "CL_OUT_OF_RESOURCES",
           giving<CL_OUT_OF_RESOURCES>(opencl_api, &OpenClApi::clSetKernelArg)},
          {"clCreateKernel", "CL_OUT_OF_HOST_MEMORY",
           replacing(opencl_api, &OpenClApi::clCreateKernel, no_kernel)}};
}

std::vector<Fault> loading_faults(const std::string& kind) {
  if (kind == "vulkan")
    return {
        out_of_device_memory("vkAllocateMemory", &VulkanApi::AllocateMemory, "; lower context_window_size"),
        out_of_device_memory("vkBindBufferMemory", &VulkanApi::BindBufferMemory,
                             "; lower context_window_size")};
  auto no_buffer = +[](cl_context, cl_mem_flags, size_t, void*, cl_int* code) -> cl_mem {
    return *code = CL_MEM_OBJECT_ALLOCATION_FAILURE, nullptr;
  };
  return {{"clCreateBuffer", "CL_MEM_OBJECT_ALLOCATION_FAILURE",
           replacing(opencl_api, &OpenClApi::clCreateBuffer, no_buffer)},
          {"clEnqueueFillBuffer", "CL_OUT_OF_RESOURCES",
           giving<CL_OUT_OF_RESOURCES>(opencl_api, &OpenClApi::clEnqueueFillBuffer)}};
}

struct Answer {
  std::vector<int32_t> tokens;
  serve::FinishReason finish = serve::FinishReason::kNone;
  std::string error;
};

class Faults : public ::testing::Test {
 protected:
  static constexpr runtime::ModelLimits kLimits{
      .max_sequences = 1, .context_tokens = 96, .prefill_chunk = 64};

  void SetUp() override {
    convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
    tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  }

  std::string library(const GpuTarget& gpu) const {
    std::string path = folder.file(gpu.device + ".so");
    if (!file_exists(path)) compile_to(path, toy_config("llama", "q4f16_1"), 2, {gpu.target});
    return path;
  }
  void start(const GpuTarget& gpu) {
    engine.reset();
    model = LoadedModel::load(must(runtime::open_device(gpu.device)), library(gpu), folder.path(), kLimits);
    engine = std::make_unique<serve::Engine>(*model.model, tokenizer);
  }

  // Six tokens after a prompt; `fault` from step `at` on.
  Answer ask(size_t length, const Fault* fault = nullptr, int at = 0) {
    Answer answer;
    serve::GenerationConfig greedy;
    greedy.temperature = 0;
    greedy.max_tokens = 6;
    greedy.ignore_eos = true;
    std::vector<int32_t> prompt;
    for (size_t i = 0; i < length; ++i) prompt.push_back(static_cast<int32_t>(3 + i * 37 % 500));
    must(engine->add_request({1, prompt, greedy, [&](const serve::StreamUpdate& u) {
                                if (u.token >= 0) answer.tokens.push_back(u.token);
                                answer.finish = u.finish;
                                answer.error = u.error;
                              }}));
    Repair repair = [] {};
    for (int step = 0;; ++step) {
      if (fault && step == at) repair = fault->inject(*model.device);
      if (!engine->step()) break;
    }
    repair();
    engine->reset();
    return answer;
  }

  static void expect_sentence(const Fault& fault, const GpuTarget& gpu, const std::string& error) {
    EXPECT_EQ(error.rfind(gpu.device + " device: ", 0), 0u) << fault.function << ": " << error;
    EXPECT_NE(error.find(fault.said), std::string::npos) << fault.function << ": " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << fault.function << ": " << error;
  }

  TempFolder folder;
  std::shared_ptr<const Tokenizer> tokenizer;
  LoadedModel model;
  std::unique_ptr<serve::Engine> engine;
};

TEST_F(Faults, EndRequestsWithASentence) {
  for (const GpuTarget& gpu : best_gpu_targets()) {
    start(gpu);
    const std::vector<int32_t> expected = ask(20).tokens;
    ASSERT_EQ(expected.size(), 6u);
    for (const Fault& fault : step_faults(gpu.device))
      for (int at : {0, 3}) {
        SCOPED_TRACE(str(gpu.device, ", ", fault.function, " in step ", at));
        const Answer failed = ask(20, &fault, at);
        EXPECT_EQ(failed.finish, serve::FinishReason::kError);
        EXPECT_EQ(failed.tokens.size(), static_cast<size_t>(at));
        expect_sentence(fault, gpu, failed.error);
        const Answer next = ask(20);
        EXPECT_EQ(next.tokens, expected) << next.error;
      }
    size_t length = 21;
    for (const Fault& fault : recording_faults(gpu.device)) {
      SCOPED_TRACE(str(gpu.device, ", ", fault.function));
      const Answer failed = ask(++length, &fault);
      EXPECT_EQ(failed.finish, serve::FinishReason::kError);
      expect_sentence(fault, gpu, failed.error);
      EXPECT_EQ(ask(length).tokens.size(), 6u);
      EXPECT_EQ(ask(20).tokens, expected);
    }
  }
}

TEST_F(Faults, EndLoadingWithASentence) {
  for (const GpuTarget& gpu : best_gpu_targets())
    for (const Fault& fault : loading_faults(gpu.device)) {
      SCOPED_TRACE(str(gpu.device, ", ", fault.function));
      runtime::DevicePtr device = must(runtime::open_device(gpu.device));
      auto module = must(runtime::Module::load(*device, library(gpu)));
      const Repair repair = fault.inject(*device);
      auto failed = runtime::Model::load(*device, module, folder.path(), kLimits);
      repair();
      ASSERT_FALSE(failed.is_ok());
      expect_sentence(fault, gpu, failed.status().message());
      EXPECT_TRUE(runtime::Model::load(*device, module, folder.path(), kLimits).is_ok());
    }
}

// Nothing works any more: requests fail one after the other, the session can be closed, and the next one
// runs.
TEST_F(Faults, ANewSessionOutlivesALostDevice) {
  for (const GpuTarget& gpu : best_gpu_targets()) {
    SCOPED_TRACE(gpu.device);
    start(gpu);
    const std::vector<int32_t> expected = ask(20).tokens;
    std::vector<Repair> repairs;
    for (const Fault& fault : step_faults(gpu.device)) repairs.push_back(fault.inject(*model.device));
    for (int i = 0; i < 3; ++i) {
      const Answer failed = ask(20);
      EXPECT_EQ(failed.finish, serve::FinishReason::kError);
      EXPECT_NE(failed.error, "");
    }
    engine.reset();
    model = {};
    if (gpu.device == "opencl")  // one table for all devices
      for (auto repair = repairs.rbegin(); repair != repairs.rend(); ++repair) (*repair)();
    start(gpu);
    EXPECT_EQ(ask(20).tokens, expected);
  }
}

}  // namespace
}  // namespace mlc::testing
