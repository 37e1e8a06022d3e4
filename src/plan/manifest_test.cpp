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
  plan.states.push_back({.name = "kv",
                         .layers = 2,
                         .page_size = 16,
                         .parts = {{"key", 2, 24, DType::kF16}, {"value", 2, 24, DType::kF16}}});
  const ExprId by_page = plan.add_expression(Dim::symbol("pages") * 64),
               by_row = plan.add_expression(Dim::symbol("rows") * 128);
  for (const std::string& name : functions) {
    plan.functions.push_back({.name = name, .arguments = {}, .results = {}, .bodies = {}});
    plan.functions.back().bodies = {{{{plan.add_symbol("rows"), 1, 1}}, by_page, {}}, {{}, by_row, {}}};
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

TEST(Manifest, DescribesTheFieldsOfAStep) {
  Plan plan = plan_of({"embed", "decode"});
  const ExprId rows = plan.add_expression(Dim::symbol("rows")),
               ends = plan.add_expression(Dim::symbol("batch") + Dim(1));
  plan.functions[0].arguments = {{"input_ids", DType::kI32, {rows}}};
  plan.functions[1].arguments = {{"input_embeds", DType::kF32, {rows, rows}},
                                 {"limits", DType::kI32, {rows}},
                                 {"page_indptr", DType::kI32, {ends}}};
  const Json config = toy_config();
  const frontend::ModelConfig parsed = frontend::parse_mlc_config(config, "auto", "a config").value();
  const LibraryFacts library{.kind = "cpu", .architecture = "x86_64", .opt_level = 2, .variants = {"v"}};
  const Json manifest = make_manifest(config, parsed, find_quant_scheme("q4f16_1").value(), plan, library);
  EXPECT_EQ(manifest["step_inputs"].dump(),
            R"json([{"name":"input_ids","dtype":"int32","shape":["rows"]},)json"
            R"json({"name":"limits","dtype":"int32","shape":["rows"]},)json"
            R"json({"name":"page_indptr","dtype":"int32","shape":["(batch + 1)"]}])json");
  EXPECT_EQ(manifest["rope"].size(), 1u);
}

}  // namespace
}  // namespace mlc
