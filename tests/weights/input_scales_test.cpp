// Scales of inputs: the first linear's by hand, those of a longer text are the larger ones of its parts, and
// what is written into a folder.
#include "weights/quantize/input_scales.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/md5.h"
#include "formats/quant/float8.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/convert.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

Windows windows_of(const std::vector<std::vector<int32_t>>& texts) {
  Windows windows;
  for (const std::vector<int32_t>& text : texts) {
    windows.tokens.insert(windows.tokens.end(), text.begin(), text.end());
    windows.begins.push_back(static_cast<int64_t>(windows.tokens.size()));
  }
  return windows;
}

const std::vector<int32_t> kOne = {3, 17, 99, 4, 250, 31}, kTwo = {8, 8, 120, 77, 5, 6, 200};

struct Converted {
  mlc::testing::TempFolder folder;
  ModelSource source;
  QuantScheme scheme;
  std::unique_ptr<Shards> shards;

  explicit Converted(const std::string& toy, const std::string& scheme_name = "e4m3_e4m3_f16")
      : scheme(*find_quant_scheme(scheme_name)) {
    source = must(open_source({.config = mlc::testing::toy_file(toy, "config.json")}));
    const frontend::BuiltModel built = frontend::build_model(source.config, scheme);
    Plan plan =
        must(make_plan(built.parameters, built.unused_sources, scheme, source.checkpoint.get(), toy, {}));
    must(convert(plan, *source.checkpoint, folder.path(), {.threads = 2}));
    shards = must(Shards::open(folder.path()));
  }
  Result<InputScales> measure(const Windows& windows, int threads = 2) const {
    return measure_input_scales(source.config, scheme, folder.path(), windows, threads, {});
  }
  std::vector<float> halves(const std::string& name) const {
    const TensorRecord* record = shards->find(name);
    const auto bytes = shards->bytes(*record);
    std::vector<float> values;
    for (size_t i = 0; i + 1 < bytes.size(); i += 2)
      values.push_back(f16_to_f32(
          static_cast<uint16_t>(static_cast<int>(bytes[i]) | static_cast<int>(bytes[i + 1]) << 8)));
    return values;
  }
};

TEST(InputScales, OfTheFirstLinearByHand) {
  const Converted model("llama");
  const InputScales scales = must(model.measure(windows_of({kOne})));
  const std::vector<float> table = model.halves("model.embed_tokens.weight"),
                           norm = model.halves("model.layers.0.input_layernorm.weight");
  const double eps = model.source.hf_config.at("rms_norm_eps");
  const size_t k = norm.size();
  double largest = 0;
  for (int32_t token : kOne) {
    const float* row = table.data() + static_cast<size_t>(token) * k;
    double squares = 0;
    for (size_t i = 0; i < k; ++i) squares += double{row[i]} * row[i];
    const double by = 1 / std::sqrt(squares / static_cast<double>(k) + eps);
    for (size_t i = 0; i < k; ++i) largest = std::max(largest, std::fabs(row[i] * by * norm[i]));
  }
  const float expected =
      float8_scale(WeightFormat::float8(WeightFormat::Code::kE4M3), static_cast<float>(largest));
  // A last bit of f32 may move a rounding to half by one place.
  EXPECT_NEAR(scales.at("model.layers.0.self_attn.qkv_proj.q_calibration_scale"), expected,
              expected * 0x1p-10f);
  EXPECT_EQ(static_cast<int64_t>(scales.size()), count_input_scales(model.source.config, model.scheme));
}

// mixtral's experts have one scale for all of them.
TEST(InputScales, OfTwoTextsAreTheLargerOnes) {
  for (const char* toy : {"llama", "mixtral"}) {
    const Converted model(toy);
    const InputScales one = must(model.measure(windows_of({kOne}))),
                      two = must(model.measure(windows_of({kTwo}))),
                      both = must(model.measure(windows_of({kOne, kTwo}), 1));
    ASSERT_EQ(one.size(), both.size()) << toy;
    bool differ = false;
    for (const auto& [name, scale] : both) {
      EXPECT_NEAR(scale, std::max(one.at(name), two.at(name)), scale * 0x1p-10f) << toy << " " << name;
      differ |= one.at(name) != two.at(name);
    }
    EXPECT_TRUE(differ) << toy;
    EXPECT_EQ(must(model.measure(windows_of({kOne, kTwo}), 3)), both) << toy;
  }
}

TEST(InputScales, AreWrittenInPlaceWithTheDigests) {
  const Converted model("llama");
  InputScales scales = must(model.measure(windows_of({kOne})));
  ShardIndex before = model.shards->index();
  const Status written = write_input_scales(model.folder.path(), scales);
  ASSERT_TRUE(written.is_ok()) << written.message();
  const auto after = must(Shards::open(model.folder.path()));
  int64_t found = 0;
  for (size_t s = 0; s < before.shards.size(); ++s) {
    const ShardRecord& shard = after->index().shards[s];
    EXPECT_EQ(shard.md5, must(md5_files({path_join(model.folder.path(), shard.file)}))[0]);
    for (const TensorRecord& t : shard.tensors) {
      const auto bytes = after->bytes(t), old = model.shards->bytes(t);
      if (auto scale = scales.find(t.name); scale != scales.end()) {
        const int bits = static_cast<int>(bytes[0]) | static_cast<int>(bytes[1]) << 8;
        EXPECT_EQ(bits, f32_to_bf16(scale->second)) << t.name;
        ++found;
      } else {
        EXPECT_TRUE(std::ranges::equal(bytes, old)) << t.name;
      }
    }
  }
  EXPECT_EQ(found, static_cast<int64_t>(scales.size()));
}

TEST(InputScales, RefusesFoldersOfAnotherKind) {
  const Converted model("llama"), without("llama", "e4m3_e4m3_f16_max_calibrate"),
      fine("llama", "e5m2_e5m2_f16");
  const InputScales scales = must(without.measure(windows_of({kOne})));  // which has no records for them
  EXPECT_EQ(scales, must(model.measure(windows_of({kOne}))));
  const Status missing = write_input_scales(without.folder.path(), scales);
  EXPECT_NE(missing.message().find("run convert_weight with --quantization e4m3_e4m3_f16 there first"),
            std::string::npos)
      << missing.message();
  InputScales fewer = scales;
  fewer.erase(fewer.begin());
  EXPECT_NE(write_input_scales(model.folder.path(), fewer).message().find("which the measured model has not"),
            std::string::npos);
  const auto refused = fine.measure(windows_of({kOne}));
  ASSERT_FALSE(refused.is_ok());
  EXPECT_EQ(refused.status().message().find("MODEL: "), 0u) << refused.status().message();
}

}  // namespace
}  // namespace mlc::weights
