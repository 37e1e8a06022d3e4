// How many kernels a decode step runs on a GPU, and what they move, counted from the plan of every toy.
#include <gtest/gtest.h>

#include "kernel/schedule/gpu/table.h"
#include "simulate/count_model.h"
#include "support/compiled_model.h"
#include "support/gpu_devices.h"
#include "support/toys.h"

namespace mlc::testing {
namespace {

Result<std::vector<CountedStep>> count(const Json& config, const std::string& what, const Target& target,
                                       int64_t rows, int64_t tokens, int64_t most_groups) {
  CompileOptions options;
  options.targets = {target};
  options.stop_after = "kernel";
  ASSIGN_OR_RETURN(const CompiledModel compiled, compile_model(config, what, options));
  return count_model(compiled.first_variant, rows, tokens, most_groups);
}

std::vector<CountedStep> steps_of(const std::string& toy, const std::string& device, int64_t layers) {
  Json config = toy_config(toy, "q4f16_1");
  if (layers)
    config["model_config"][config["model_config"].contains("n_layer") ? "n_layer" : "num_hidden_layers"] =
        layers;
  Target target = class_target(device);
  Result<std::vector<CountedStep>> steps = count(config, toy, target, 20, 40, 2);
  EXPECT_TRUE(steps.is_ok()) << steps.status().message();
  return steps.is_ok() ? *steps : std::vector<CountedStep>(2);
}

// What a layer has beyond qkv, rotation with append, attention, output, gate and up, down, and for several
// rows the two norms: gpt_neox adds what attention and its MLP give; gemma2 norms what it adds; experts
// have a router's matmul, whose weight is plain and takes no norm, their choice and a sum, and for many rows
// an order and rows in it; one that all rows share has two matmuls, a gate and a product. deepseek_v2 has
// such experts, makes queries and latents in two steps with norms between, rotates and appends them apart,
// and its heads meet matrices of their own before and after attention. rwkv5 has 7 matmuls with as many
// inputs, but one is that of another, two norms, two token shifts, wkv5 and its norm.
int64_t more_kernels(const std::string& toy, bool one_row) {
  if (toy == "gpt_neox") return 1;
  if (toy == "gemma2") return 2;
  if (toy == "mixtral") return one_row ? 5 : 6;
  if (toy == "qwen2_moe") return one_row ? 9 : 10;
  if (toy == "deepseek_v2") return one_row ? 14 : 16;
  if (toy == "rwkv5") return 20 - (one_row ? 6 : 8);
  return 0;
}

// One more where a row's attention is split and joined.
TEST(GpuSteps, ALayerIsAtMostSixKernelsOfOneRowAndEightOfMany) {
  for (const std::string& toy : toys_with("parameters.txt")) {     // a toy a family
    if (!file_exists(toy_file(toy, "logits_fp32.npy"))) continue;  // that decodes
    for (const char* device : {"vulkan-nvidia", "vulkan-software"}) {
      auto two = steps_of(toy, device, 2), three = steps_of(toy, device, 3);
      const Target target = class_target(device);
      const bool split = target.attention_part_pages > 0;
      const int64_t least = kernel::fused_norm_bytes(target) > 0 ? 6 : 8;
      for (size_t i : {0, 1}) {
        int64_t layer = three[i].dispatches - two[i].dispatches;
        const bool one_row = two[i].rows == 1;
        EXPECT_LE(layer, (one_row ? least + split : 8) + more_kernels(toy, one_row))
            << toy << " " << two[i].function << " on " << device;
        EXPECT_GE(layer, 4) << toy;
      }
    }
  }
}

// One layer of SmolLM2-135M and the first of its embeddings, with one group of each kernel standing for all:
// decode with 256 tokens in the cache, and prefill.
std::vector<CountedStep> smollm2_steps(const std::string& device, int64_t prefill_rows) {
  Json config = toy_config("llama", "q4f16_1");
  config["model_config"].update({{"hidden_size", 576},
                                 {"intermediate_size", 1536},
                                 {"num_hidden_layers", 1},
                                 {"num_attention_heads", 9},
                                 {"num_key_value_heads", 3},
                                 {"head_dim", 64},
                                 {"vocab_size", 4096},
                                 {"tie_word_embeddings", true}});
  return must(count(config, "smollm2", class_target(device), prefill_rows, 256, 1));
}

const std::vector<std::string> kClasses = {"vulkan-nvidia",   "vulkan-amd",    "vulkan-intel",
                                           "vulkan-software", "opencl-adreno", "opencl-intel"};

bool is_matmul(const CountedKernel& k) { return k.count.name.find("matmul") != std::string::npos; }

void expect_read_once(const std::string& what, double fetched, double used, double ideal) {
  EXPECT_LE(fetched, 1.02 * ideal) << what;
  EXPECT_GE(fetched, 0.98 * ideal) << what << ": all of it is needed";
  EXPECT_GE(used, 0.95 * fetched) << what << ": of the sectors that are fetched";
}

// Each weight once, and each page of the cache once for the three query heads of a key/value head.
TEST(GpuSteps, DecodingSmolLM2ReadsAllOnceInWholeSectors) {
  for (const std::string& device : kClasses) {
    const std::vector<CountedStep> steps = smollm2_steps(device, 2);
    int matmuls = 0, attentions = 0;
    for (const CountedKernel& k : steps[0].kernels) {
      const std::string what = k.count.name + " on " + device;
      EXPECT_EQ(k.count.conflicts(), 0) << what;
      if (is_matmul(k)) {
        ++matmuls;
        expect_read_once(what, double(k.weight_fetched), double(k.weight_used), double(k.weight_bytes));
      } else if (k.count.name.find("attention") != std::string::npos &&
                 k.count.name.find("join") == std::string::npos) {
        ++attentions;
        const kernel::BufferCount& cache = k.count.find("cache");
        const double ideal = 2 * 3 * 64 * 256 * 2;  // K and V, heads, elements, tokens, bytes
        expect_read_once(what, double(cache.fetched), double(cache.fetched_used), ideal);
      }
    }
    EXPECT_EQ(matmuls, 5) << device << ": qkv, output, gate and up, down, logits";
    EXPECT_EQ(attentions, 1) << device;
  }
}

// Each tile of weights comes once for each tile of rows, and each tile of rows once for each tile of weights.
TEST(GpuSteps, PrefillOfSmolLM2MovesWhatItsTilesNeed) {
  const std::map<int64_t, std::pair<int64_t, int64_t>> shapes = [] {  // by bytes of the weight: N and K
    std::map<int64_t, std::pair<int64_t, int64_t>> all;
    for (auto [n, k] : {std::pair<int64_t, int64_t>{960, 576}, {576, 576}, {3072, 576}, {576, 1536}})
      all[n * k * 18 / 32] = {n, k};
    return all;
  }();
  for (const std::string& device : kClasses) {
    const kernel::GpuSchedule& s = kernel::gpu_schedule(class_target(device));
    if (!s.shared_tiles) continue;
    constexpr int64_t kRows = 128;
    size_t matmuls = 0;
    const std::vector<CountedStep> steps = smollm2_steps(device, kRows);
    for (const CountedKernel& k : steps[1].kernels) {
      auto shape = shapes.find(k.weight_bytes);
      if (shape == shapes.end() || !is_matmul(k)) continue;
      ++matmuls;
      auto [n, size] = shape->second;
      const double weights = double(k.weight_bytes) * double(kRows) / s.tile_height;
      const double inputs = double(kRows * size * 4) * double(n) / s.tile_width,
                   others = double(kRows * n * 4);
      EXPECT_LE(double(k.weight_fetched), 1.02 * weights) << k.count.name << " on " << device;
      EXPECT_LE(double(k.count.moved()), 1.2 * (weights + inputs + others))
          << k.count.name << " on " << device;
      EXPECT_EQ(k.count.conflicts(), 0) << k.count.name << " on " << device;
    }
    EXPECT_EQ(matmuls, shapes.size()) << device;
  }
}

TEST(GpuSteps, TheTableNamesEveryKernel) {
  auto steps = steps_of("llama", "vulkan-nvidia", 0);
  std::string table = count_table(steps);
  for (const CountedStep& s : steps) {
    EXPECT_NE(table.find(s.function), std::string::npos);
    for (const CountedKernel& k : s.kernels) {
      EXPECT_NE(table.find(k.count.name), std::string::npos);
      EXPECT_EQ(k.count.conflicts(), 0) << k.count.name;
      EXPECT_GT(k.count.moved(), 0) << k.count.name;
    }
  }
}

}  // namespace
}  // namespace mlc::testing
