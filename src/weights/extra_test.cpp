// Tensors that no parameter needs, values that are no numbers: what is said of them, and what is refused.
#include "weights/extra.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/non_finite.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;
using mlc::testing::packed;
using mlc::testing::TempFolder;

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values = {};  // empty: ones
  std::string dtype = "F32";
};

class Extra : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> checkpoint(const std::vector<Tensor>& tensors) {
    Json header = Json::object();
    std::string data;
    for (const Tensor& t : tensors) {
      int64_t count = 1;
      for (int64_t dim : t.shape) count *= dim;
      std::vector<float> values = t.values;
      values.resize(static_cast<size_t>(count), values.empty() ? 1.0f : 0.0f);
      std::vector<uint16_t> halves;
      for (float value : values) halves.push_back(t.dtype == "F16" ? f32_to_f16(value) : f32_to_bf16(value));
      const size_t begin = data.size();
      data += t.dtype == "F32" ? packed(values) : packed(halves);
      header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string path =
        folder_.write("model.safetensors", mlc::testing::safetensors(header.dump(), data));
    auto opened = Checkpoint::open(path);
    EXPECT_TRUE(opened.is_ok()) << opened.status().message();
    return std::move(opened).value();
  }

  static Parameter parameter(const std::string& name, std::vector<int64_t> shape) {
    Parameter p;
    p.name = name, p.shape = std::move(shape),
    p.role = p.shape.size() == 2 ? WeightRole::kLinear : WeightRole::kOther;
    p.source = SourceExpr::of(name);
    return p;
  }

  // The refusal, or the notes, of a model of one layer with one projection and these tensors beside it.
  std::string said_of(std::vector<Tensor> more, bool ignore_extra = false,
                      const std::vector<std::string>& unused = {}) {
    const std::string name = "model.layers.0.self_attn.q_proj.weight";
    more.push_back({name, {2, 32}});
    auto source = checkpoint(more);
    auto plan = make_plan({parameter(name, {2, 32})}, unused, *find_quant_scheme("q4f16_1"), source.get(),
                          "FILE", {.ignore_extra = ignore_extra});
    return plan.is_ok() ? join(plan->notes, "\n") : plan.status().message();
  }

  // What converting a tensor of these values to a scheme says.
  std::string converted(const Tensor& tensor, const std::string& scheme) {
    auto source = checkpoint({tensor});
    auto plan = make_plan({parameter(tensor.name, tensor.shape)}, {}, *find_quant_scheme(scheme),
                          source.get(), "FILE");
    EXPECT_TRUE(plan.is_ok()) << plan.status().message();
    auto result = convert(*plan, *source, folder_.file("out"), {.threads = 2});
    EXPECT_TRUE(result.is_ok()) << result.status().message();
    return join(result->notes, "\n");
  }

  TempFolder folder_;
};

TEST_F(Extra, IsNotedByItsFirstNames) {
  EXPECT_EQ(said_of({}), "");
  EXPECT_EQ(said_of({{"v_head.summary.weight", {1, 32}}, {"v_head.summary.bias", {1}}}),
            "2 tensors of the checkpoint, which no parameter of this model needs, left out: "
            "'v_head.summary.bias', "
            "'v_head.summary.weight'");
  std::vector<Tensor> many;
  for (int i = 0; i < 100; ++i) many.push_back({str("extra.", i + 100), {1}});
  EXPECT_NE(said_of(many).find("'extra.104' and 95 more"), std::string::npos) << said_of(many);
  EXPECT_EQ(said_of(many, /*ignore_extra=*/true), "");
  EXPECT_EQ(said_of({{"x.weight", {1}}}, false, {"x.weight"}), "");
  for (const char* name : {"model.layers.0.self_attn.q_proj.lora_A.weight",
                           "model.layers.0.self_attn.k_scale", "draft.layers.0.self_attn.q_norm.weight"})
    EXPECT_NE(said_of({{name, {1}}}).find("left out"), std::string::npos) << name;
  EXPECT_NE(said_of({{"model.layers.1.self_attn.q_proj.weight", {2, 32}}}).find("past num_hidden_layers"),
            std::string::npos);
}

TEST_F(Extra, BuffersGetNoWord) {
  for (const char* name :
       {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.position_ids", "h.0.attn.bias",
        "h.0.attn.masked_bias", "model.rotary_emb.inv_freq", "gpt_neox.layers.0.attention.bias"})
    EXPECT_EQ(said_of({{name, {1}}}), "") << name;
}

TEST_F(Extra, WhatChangesTheModelIsRefused) {
  struct {
    const char *name, *word;
  } const cases[] = {{"model.layers.0.self_attn.q_proj.bias", "attention_bias"},
                     {"model.layers.0.self_attn.q_norm.weight", "norm of the queries"},
                     {"model.layers.0.self_attn.k_norm.weight", "norm of the keys"},
                     {"model.layers.0.self_attn.sinks", "attention sinks"},
                     {"model.layers.0.block_sparse_moe.gate.weight", "mixture of experts"},
                     {"model.layers.0.mlp.experts.0.gate_proj.weight", "mixture of experts"},
                     {"blk.0.ffn_gate_inp.weight", "mixture of experts"},
                     {"model.layers.0.post_feedforward_layernorm.weight", "another norm"},
                     {"rope_factors_long.weight", "factors of the rotation"}};
  for (const auto& c : cases) {
    const std::string said = said_of({{c.name, {4}}});
    EXPECT_NE(said.find(str("tensor '", c.name, "' [4] is extra: it adds ")), std::string::npos) << said;
    EXPECT_NE(said.find(c.word), std::string::npos) << said;
    EXPECT_NE(said.find("--ignore-extra"), std::string::npos) << said;
    EXPECT_EQ(said_of({{c.name, {4}}}, /*ignore_extra=*/true), "") << c.name;
  }
  const Tensor zero_bias{"model.layers.0.self_attn.q_proj.bias", {4}, {0, 0, 0, 0}};
  EXPECT_NE(said_of({zero_bias}).find("left out"), std::string::npos);
}

TEST_F(Extra, PackedWeightsSayByWhom) {
  struct {
    const char *array, *quantizer;
  } const cases[] = {{".qweight", "GPTQ or AWQ"},
                     {".weight_packed", "compressed-tensors"},
                     {".weight_scale_inv", "FP8"},
                     {".weight.quant_state.bitsandbytes__nf4", "bitsandbytes"},
                     {".SCB", "bitsandbytes"}};
  for (const auto& c : cases) {
    const std::string said = said_of({{str("model.layers.0.self_attn.q_proj", c.array), {4}}});
    EXPECT_NE(said.find(str("already quantized by ", c.quantizer)), std::string::npos) << said;
  }
}

TEST_F(Extra, MissingTensorsHint) {
  auto source = checkpoint({{"model.layers.0.block_sparse_moe.experts.0.w1.weight", {2, 32}}});
  auto error = [&](const std::string& name) {
    return make_plan({parameter(name, {2, 32})}, {}, *find_quant_scheme("q4f16_1"), source.get(), "FILE")
        .status()
        .message();
  };
  EXPECT_NE(error("lm_head.weight").find("tie_word_embeddings"), std::string::npos)
      << error("lm_head.weight");
  EXPECT_NE(error("model.layers.0.mlp.up_proj.weight").find("mixture of experts"), std::string::npos);
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

TEST_F(Extra, ValuesThatAreNotFiniteAreCounted) {
  for (const char* scheme : {"q0f16", "q0f32", "q4f16_0", "q4f16_1", "q4f32_1", "q3f16_1"})
    for (const char* dtype : {"F32", "F16", "BF16"}) {
      std::vector<float> values(40 * 37, 0.5f);
      EXPECT_EQ(converted({"w", {37, 40}, values, dtype}, scheme), "") << scheme << " " << dtype;
      values[3] = kNan, values.back() = -kNan, values[700] = -kInfinity;
      const std::string said = converted({"w", {37, 40}, values, dtype}, scheme);
      EXPECT_NE(said.find("tensor 'w' holds 2 NaN, 1 infinite"), std::string::npos)
          << scheme << " " << dtype << said;
    }
}

TEST_F(Extra, ValuesThatOverflowAreCounted) {
  const Tensor large{"w", {1, 64}, {65504.0f, 65519.0f, 65520.0f, -1e30f}};
  for (const char* scheme : {"q0f16", "q4f16_1"})
    EXPECT_NE(converted(large, scheme).find("tensor 'w' holds 2; choose"), std::string::npos)
        << converted(large, scheme);
  EXPECT_EQ(converted(large, "q0f32"), "");
  EXPECT_EQ(converted(large, "q4f32_1"), "");
}

TEST(NonFinite, CountsAtEveryPlaceAndLength) {
  for (size_t size : {1, 15, 16, 17, 100})
    for (size_t at = 0; at < size; ++at) {
      std::vector<float> values(size, -std::numeric_limits<float>::max());
      EXPECT_FALSE(count_non_finite(values, DType::kF32).any());
      values[at] = kNan;
      EXPECT_EQ(count_non_finite(values, DType::kF32).nan, 1) << size << " " << at;
    }
  const std::vector<uint16_t> scales = {0x7C00, 0xFC01, 0x7BFF, 0};
  const NonFinite blocks = count_non_finite_blocks(std::as_bytes(std::span(scales)));
  EXPECT_EQ(blocks.nan, 32);
  EXPECT_EQ(blocks.infinite, 32);
}

}  // namespace
}  // namespace mlc::weights
