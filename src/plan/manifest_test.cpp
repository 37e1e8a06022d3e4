// What a manifest says of memory.
#include "plan/manifest.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace mlc {
namespace {

Json toy_config() {
  Json config = read_json_file(MLC_SOURCE_DIR "/tests/data/models/llama/mlc-configs.json")->at("q4f16_1");
  config["quantization"] = "q4f16_1";
  for (Json* place : {&config, &config["model_config"]})
    place->update({{"context_window_size", 128}, {"prefill_chunk_size", 64}, {"max_batch_size", 4}});
  return config;
}

Json memory_usage(const Json& config, const Plan& plan) {
  const frontend::ModelConfig parsed = frontend::parse_mlc_config(config, "auto", "a config").value();
  const QuantScheme scheme = find_quant_scheme("q4f16_1").value();
  const LibraryFacts library{.kind = "cpu", .architecture = "x86_64", .opt_level = 2, .variants = {"v"}};
  return make_manifest(config, parsed, scheme, plan, library)["memory_usage"];
}

// A plan whose functions have a body for one row that needs memory for each page, and one for more rows.
Plan plan_of(const std::vector<std::string>& functions) {
  Plan plan;
  plan.states.push_back({"kv", 2, 2, 24, 16, DType::kF16});
  const ExprId by_page = plan.add_expression(Dim::symbol("pages") * 64),
               by_row = plan.add_expression(Dim::symbol("rows") * 128);
  for (const std::string& name : functions) {
    plan.functions.push_back({.name = name, .arguments = {}, .results = {}, .bodies = {}});
    plan.functions.back().bodies = {{1, 1, by_page, {}}, {0, 0, by_row, {}}};
  }
  return plan;
}

TEST(Manifest, MemoryUsageIsThatOfTheHungriestStepWithinTheLimits) {
  const Plan plan = plan_of({"prefill", "batch_decode"});
  Json config = toy_config();
  // 128 tokens are 8 pages, and each of 3 more sequences may have begun one: 11 x 64. Decoding has a row a
  // sequence: 4 x 128.
  EXPECT_EQ(memory_usage(config, plan), Json({{"prefill", 64 * 128}, {"batch_decode", 11 * 64}}));
  for (Json* place : {&config, &config["model_config"]}) (*place)["context_window_size"] = 256;
  EXPECT_EQ(memory_usage(config, plan)["batch_decode"], (16 + 3) * 64);
}

// A window's pages: those of the window and a chunk, a part of one for each sequence, two more beside its
// dropped tokens.
TEST(Manifest, MemoryUsageKnowsTheWindow) {
  Json config = toy_config();
  for (Json* place : {&config, &config["model_config"]})
    place->update({{"sliding_window_size", 96}, {"attention_sink_size", 4}, {"prefill_chunk_size", 64}});
  EXPECT_EQ(memory_usage(config, plan_of({"batch_decode"}))["batch_decode"],
            ((96 + 64) / 16 + 3 + 2 * 4) * 64);
}

}  // namespace
}  // namespace mlc
