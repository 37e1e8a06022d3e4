// LoRA adapters in one batch on GPU devices.
#include <gtest/gtest.h>

#include "support/gpu_devices.h"
#include "support/lora_model.h"

namespace mlc::testing {
namespace {

TEST(GpuLora, ManyAdaptersInOneBatch) {
  for (const GpuTarget& gpu : best_gpu_targets()) {
    TempFolder folder;
    convert_checkpoint(toy_file("llama", ""), "q0f32", folder.path(), /*raw_f32=*/true);
    compile_to(folder.file("model.so"), toy_config("llama", "q0f32"), 0, {gpu.target}, false, kLoraSlots,
               kLoraRank);
    const LoadedModel m = LoadedModel::load(
        must(runtime::open_device(gpu.device)), folder.file("model.so"), folder.path(),
        {.max_sequences = 4, .context_tokens = 64, .total_tokens = 256, .prefill_chunk = 48});
    expect_adapters_in_one_batch(m, gpu.target.name);
  }
}

}  // namespace
}  // namespace mlc::testing
