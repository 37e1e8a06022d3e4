// What --verify and --quantizer best hold in memory, counted: of a deeper model not more, but for its graph.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "formats/build_files.h"
#include "support/heap.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/quantize/calibrate.h"
#include "weights/verify_model.h"

namespace mlc::weights {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

constexpr int64_t kHidden = 128, kInner = 512, kVocab = 512;
constexpr int64_t kLayerBytes = 4 * (4 * kHidden * kHidden + 3 * kHidden * kInner);  // 1 MiB

// A llama of so many layers, with weights that are small and differ.
void write_llama(const std::string& folder, int64_t layers) {
  std::ofstream(folder + "/config.json") << json_text(Json{{"model_type", "llama"},
                                                           {"hidden_size", kHidden},
                                                           {"intermediate_size", kInner},
                                                           {"num_attention_heads", 4},
                                                           {"num_key_value_heads", 4},
                                                           {"num_hidden_layers", layers},
                                                           {"rms_norm_eps", 1e-5},
                                                           {"vocab_size", kVocab},
                                                           {"max_position_embeddings", 256},
                                                           {"tie_word_embeddings", false}});
  const ModelSource config = must(open_source({.config = folder, .with_checkpoint = false}));
  const frontend::BuiltModel built = frontend::build_model(config.config, *find_quant_scheme("q0f32"));
  Json header = Json::object();
  std::string data;
  uint32_t seed = 1;
  auto put = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t dim : shape) count *= dim;
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i)
      seed = seed * 1664525 + 1013904223,
      values.push_back(static_cast<float>(seed >> 8) * 0x1p-24f * 0.2f - 0.1f);
    const std::string bytes = mlc::testing::packed(values);
    header[name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  };
  put("model.embed_tokens.weight", {kVocab, kHidden}), put("lm_head.weight", {kVocab, kHidden});
  put("model.norm.weight", {kHidden});
  for (int64_t l = 0; l < layers; ++l) {
    const std::string at = "model.layers." + std::to_string(l) + ".";
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      put(at + "self_attn." + name + ".weight", {kHidden, kHidden});
    put(at + "mlp.gate_proj.weight", {kInner, kHidden}), put(at + "mlp.up_proj.weight", {kInner, kHidden});
    put(at + "mlp.down_proj.weight", {kHidden, kInner});
    put(at + "input_layernorm.weight", {kHidden}), put(at + "post_attention_layernorm.weight", {kHidden});
  }
  std::ofstream(folder + "/model.safetensors", std::ios::binary)
      << mlc::testing::safetensors(header.dump(), data);
}

// A model, and how it is converted.
struct Toy {
  mlc::testing::TempFolder from, to;
  QuantScheme scheme = *find_quant_scheme("q4f16_1");
  ModelSource source;
  Plan plan;

  explicit Toy(int64_t layers) {
    write_llama(from.path(), layers);
    source = must(open_source({.config = from.path()}));
    const frontend::BuiltModel built = frontend::build_model(source.config, scheme);
    plan = must(make_plan(built.parameters, built.unused_sources, scheme, source.checkpoint.get(), "toy"));
  }
};

// Bytes over what is held before, of opening both models and comparing them.
int64_t peak_of(int64_t layers) {
  Toy toy(layers);
  must(convert(toy.plan, *toy.source.checkpoint, toy.to.path(), {.threads = 2}));
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 48; ++i) tokens.push_back(i * 7 % static_cast<int32_t>(kVocab));
  const int64_t before = mlc::testing::heap_live_bytes();
  mlc::testing::reset_heap_peak();
  const auto a = must(OpenedModel::of_source(toy.source, 2));
  const auto b = must(OpenedModel::of_folder(toy.to.path(), toy.source.config, toy.scheme, 2));
  const VerifyModel x = a->model(), y = b->model();
  const VerifyReport report =
      must(compare_models(x, y, must(verify_windows(x, y, tokens, 100, 100)), "text", 2, {}));
  EXPECT_EQ(report.positions, 47);
  EXPECT_GT(report.kl_divergence, 0);
  return mlc::testing::heap_peak_bytes() - before;
}

// Of choosing codes along four windows of 48 tokens.
int64_t calibration_peak_of(int64_t layers) {
  const Toy toy(layers);
  Windows windows;
  for (int32_t i = 0; i < 4 * 48; ++i) {
    windows.tokens.push_back(i * 7 % static_cast<int32_t>(kVocab));
    if (i % 48 == 47) windows.begins.push_back(i + 1);
  }
  const int64_t before = mlc::testing::heap_live_bytes();
  mlc::testing::reset_heap_peak();
  const auto rows = must(
      calibrate(toy.source.config, toy.plan, *toy.source.checkpoint, windows,
                {.quantizer = Quantizer::kBest, .threads = 2, .folder = toy.to.path(), .fingerprint = "x"}));
  EXPECT_TRUE(rows->chosen->has("model.layers.7.mlp.down_proj.weight"));
  return mlc::testing::heap_peak_bytes() - before;
}

TEST(CalibrationMemory, HoldsALayerAtATime) {
  const int64_t few = calibration_peak_of(8), many = calibration_peak_of(24);
  // 16 layers more are 16 MiB of floats; importances, graph and names take a few tens of kilobytes a layer.
  EXPECT_LT(many - few, 16 * kLayerBytes / 8) << few << " and " << many;
  // Of the largest input, 512 wide, a dozen matrices of 1 MiB in each step: moments, factor, inverse,
  // difference.
  EXPECT_LT(few, 16 * kLayerBytes);
}

TEST(VerifyMemory, HoldsALinearAtATime) {
  const int64_t few = peak_of(8), many = peak_of(24);
  // 16 layers more are 16 MiB of floats. Their graphs, plans and names, of two models, take a few tens of
  // kilobytes a layer.
  EXPECT_LT(many - few, 16 * kLayerBytes / 8) << few << " and " << many;
  // The largest linear as floats is half a layer; beside it are pieces of it on two threads, and activations.
  EXPECT_LT(few, 4 * kLayerBytes);
}

}  // namespace
}  // namespace mlc::weights
