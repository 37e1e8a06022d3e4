// The order of 2023 on the sizes of a published folder (RedPajama-INCITE-Chat-3B-v1-q4f16_0), and indices
// that do not keep it.
#include "formats/params_2023.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace mlc {
namespace {

void add(ShardIndex& index, std::vector<int64_t> shape, DType dtype) {
  if (index.shards.empty()) index.shards.emplace_back();
  std::vector<TensorRecord>& all = index.shards[0].tensors;
  all.push_back({.name = str("param_", all.size()),
                 .shape = std::move(shape),
                 .dtype = dtype,
                 .format = RecordFormat::kRaw});
}

// 710 records: 2 of the embedding, 22 of each of 32 layers, 4 at the end.
ShardIndex redpajama() {
  ShardIndex index;
  add(index, {50432, 320}, DType::kU32), add(index, {50432, 80}, DType::kF16);
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 4; ++i) add(index, {2560}, DType::kF32);
    for (int i = 0; i < 4; ++i)
      add(index, {320, 2560}, DType::kU32), add(index, {80, 2560}, DType::kF16),
          add(index, {2560}, DType::kF16);
    add(index, {320, 10240}, DType::kU32), add(index, {80, 10240}, DType::kF16),
        add(index, {10240}, DType::kF32);
    add(index, {1280, 2560}, DType::kU32), add(index, {320, 2560}, DType::kF16),
        add(index, {2560}, DType::kF32);
  }
  for (int i = 0; i < 2; ++i) add(index, {2560}, DType::kF32);
  add(index, {320, 50432}, DType::kU32), add(index, {80, 50432}, DType::kF32);
  return index;
}

// Vicuna 7B in q3f16_0: 400 layers' worth of 16 records in 32 layers, with the tables of rotations.
ShardIndex vicuna() {
  ShardIndex index;
  auto linear = [&](int64_t in, int64_t out) {
    const int64_t groups = (in + 39) / 40;
    add(index, {groups * 8, out}, DType::kU16), add(index, {groups, out}, DType::kF16);
  };
  add(index, {32000, 103 * 8}, DType::kU16), add(index, {32000, 103}, DType::kF16);
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 4; ++i) linear(4096, 4096);
    linear(4096, 11008), linear(11008, 4096), linear(4096, 11008);
    for (int i = 0; i < 2; ++i) add(index, {4096}, DType::kF16);
  }
  add(index, {4096}, DType::kF16);
  linear(4096, 32000);
  for (int i = 0; i < 2; ++i) add(index, {2048, 128}, DType::kF16);
  return index;
}

const TensorRecord& record(const Params2023& params, const std::string& name) {
  for (const JoinedRecord& joined : params.records)
    if (joined.record.name == name) return joined.record;
  ADD_FAILURE() << name << " is missing";
  return params.records[0].record;
}

TEST(Params2023, GptNeox) {
  const ShardIndex index = redpajama();
  ASSERT_EQ(index.shards[0].tensors.size(), 710u);
  ASSERT_TRUE(is_2023(index));
  auto params = read_params_2023(index, "index");
  ASSERT_TRUE(params.is_ok()) << params.status().message();
  EXPECT_EQ(params->model_type, "gpt_neox");
  EXPECT_EQ(params->quantization, "q4f16_0_2023");
  EXPECT_EQ(params->vocab, 50432);
  EXPECT_EQ(params->hidden, 2560);
  EXPECT_EQ(params->inner, 10240);
  EXPECT_EQ(params->layers, 32);
  const TensorRecord& qkv = record(*params, "gpt_neox.layers.31.attention.query_key_value.q_weight");
  EXPECT_EQ(qkv.shape, (std::vector<int64_t>{320, 7680}));
  EXPECT_EQ(qkv.size, 320 * 7680 * 4);
  EXPECT_EQ(record(*params, "embed_out.q_scale").dtype, DType::kF16);
  EXPECT_EQ(record(*params, "gpt_neox.final_layer_norm.bias").dtype, DType::kF16);
  EXPECT_EQ(record(*params, "gpt_neox.layers.0.mlp.dense_4h_to_h.bias").dtype, DType::kF32);
}

TEST(Params2023, Llama) {
  auto params = read_params_2023(vicuna(), "index");
  ASSERT_TRUE(params.is_ok()) << params.status().message();
  EXPECT_EQ(params->model_type, "llama");
  EXPECT_EQ(params->quantization, "q3f16_0_2023");
  EXPECT_EQ(params->hidden, 4096);
  EXPECT_EQ(params->inner, 11008);
  EXPECT_EQ(params->layers, 32);
  EXPECT_EQ(params->key_rows, 4096);
  EXPECT_EQ(params->head_dim, 128);
  EXPECT_EQ(record(*params, "model.layers.0.mlp.gate_up_proj.q_scale").shape,
            (std::vector<int64_t>{103, 22016}));
}

std::string error_of(const ShardIndex& index) {
  auto params = read_params_2023(index, "index");
  return params.is_ok() ? "" : params.status().message();
}

TEST(Params2023, ErrorsNameTheRecord) {
  auto changed = [](size_t at, std::vector<int64_t> shape, DType dtype) {
    ShardIndex index = redpajama();
    index.shards[0].tensors[at].shape = std::move(shape), index.shards[0].tensors[at].dtype = dtype;
    return error_of(index);
  };
  EXPECT_NE(changed(30, {320, 2560}, DType::kU32).find("tensor param_30 is uint32 [320, 2560], expected "),
            std::string::npos);
  EXPECT_NE(changed(9, {320, 1280}, DType::kU32).find("param_9"), std::string::npos);
  EXPECT_NE(changed(7, {40, 2560}, DType::kF16).find("expected codes of q3f16, q4f16, q4f32 or q8f16_1"),
            std::string::npos);
  EXPECT_NE(changed(0, {5}, DType::kU32).find("param_0"), std::string::npos);
  ShardIndex cut = redpajama();
  cut.shards[0].tensors.pop_back();
  EXPECT_NE(error_of(cut), "");
  for (size_t kept = 1; kept < 60; ++kept) {
    cut = redpajama();
    cut.shards[0].tensors.resize(kept);
    EXPECT_NE(error_of(cut), "") << kept;
  }
  ShardIndex gap = redpajama();
  gap.shards[0].tensors[5].name = "param_999";
  EXPECT_FALSE(is_2023(gap));
  EXPECT_FALSE(is_2023(ShardIndex{}));
}

}  // namespace
}  // namespace mlc
