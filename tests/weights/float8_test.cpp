// fp8 schemes against what the original wrote (tests/data/weights/float8), and what is refused.
#include <gtest/gtest.h>

#include <cstring>

#include "base/file.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "formats/checkpoint.h"
#include "formats/packing.h"
#include "formats/shards.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/plan.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/", kFloat8 = kData + "weights/float8/";

Status convert_toy(const std::string& scheme_name, const std::string& folder, int ranks = 0,
                   const std::string& toy = "llama_odd") {
  const std::string weights = kData + "weights/source/" + toy + "/model.safetensors";
  ASSIGN_OR_RETURN(ModelSource source, open_source({.config = kData + "models/" + toy,
                                                    .source = file_exists(weights) ? weights : "auto"}));
  const QuantScheme scheme = *find_quant_scheme(scheme_name);
  frontend::BuiltModel built = frontend::build_model(source.config, scheme);
  ASSIGN_OR_RETURN(Plan plan, make_plan(built.parameters, built.unused_sources, scheme,
                                        source.checkpoint.get(), "the toy", {.ranks = ranks}));
  return convert(plan, *source.checkpoint, folder, {.threads = 2}).status();
}

// Without the digests: the original leaves scales of inputs uninitialised, and rounds numbers below the
// normal ones otherwise (golden/README.md of the project's reference: its cast is wrong there).
Json without_digests(Json index) {
  for (Json& shard : index["records"]) shard.erase("md5sum");
  return index;
}

class Float8Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Float8Golden, HasTheOriginalsIndexScalesAndCodes) {
  const std::string scheme = GetParam(), codes_of = scheme[1] == '5' ? scheme : "e4m3_e4m3_f16";
  mlc::testing::TempFolder out;
  const Status status = convert_toy(scheme, out.path());
  ASSERT_TRUE(status.is_ok()) << status.message();
  auto index = read_json_file(out.file("tensor-cache.json")),
       expected = read_json_file(kFloat8 + "llama_odd-" + scheme + ".json");
  ASSERT_TRUE(index.is_ok() && expected.is_ok());
  EXPECT_EQ(without_digests(*index).dump(), expected->dump());
  EXPECT_EQ(file_exists(out.file("tensor-cache-b16.json")), scheme[1] == '4');  // e5m2 has no scales
  auto shards = Shards::open(out.path());
  ASSERT_TRUE(shards.is_ok()) << shards.status().message();
  auto golden = Checkpoint::open(kFloat8 + "llama_odd.safetensors");
  ASSERT_TRUE(golden.is_ok()) << golden.status().message();
  const int normal = scheme[1] == '4' ? 0x08 : 0x04;
  int64_t compared = 0, different = 0, scales = 0;
  for (size_t i = 0; i < (*golden)->tensors().size(); ++i) {
    const SourceTensor& t = (*golden)->tensors()[i];
    if (!t.name.starts_with(codes_of + ".")) continue;
    const TensorRecord* record = (*shards)->find(t.name.substr(codes_of.size() + 1));
    ASSERT_TRUE(record) << t.name;
    std::vector<std::byte> scratch;
    const std::span<const std::byte> ours = (*shards)->bytes(*record),
                                     theirs = (*golden)->read(static_cast<int>(i), scratch);
    ASSERT_EQ(ours.size(), theirs.size()) << t.name;
    for (size_t b = 0; b < ours.size(); ++b) {
      if (ours[b] == theirs[b]) continue;
      const int a = static_cast<int>(ours[b]) & 0x7F, c = static_cast<int>(theirs[b]) & 0x7F;
      EXPECT_TRUE(t.name.ends_with("q_weight") && std::min(a, c) < normal)
          << t.name << " byte " << b << ": " << a << ", expected " << c;
      ++different;
    }
    compared += static_cast<int64_t>(ours.size()), scales += t.name.ends_with("q_scale");
  }
  EXPECT_GT(compared, 50000);
  EXPECT_GT(different, 0);  // or the exception above could go
  EXPECT_EQ(scales, scheme[1] == '4' ? 3 : 0);
}

INSTANTIATE_TEST_SUITE_P(Schemes, Float8Golden,
                         ::testing::Values("e4m3_e4m3_f16", "e4m3_e4m3_f16_max_calibrate", "e5m2_e5m2_f16"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Float8Convert, ScalesOfInputsAreOneUntilTheyAreMeasured) {
  mlc::testing::TempFolder out;
  ASSERT_TRUE(convert_toy("e4m3_e4m3_f16", out.path()).is_ok());
  auto shards = Shards::open(out.path());
  ASSERT_TRUE(shards.is_ok());
  const TensorRecord* record = (*shards)->find("model.layers.1.mlp.down_proj.q_calibration_scale");
  ASSERT_TRUE(record);
  uint16_t bits;
  ASSERT_EQ(record->size, 2);
  std::memcpy(&bits, (*shards)->bytes(*record).data(), 2);
  EXPECT_EQ(bits, 0x3F80);
}

TEST(Float8Convert, RefusesRanksAndExpertsInPartsOfBlocks) {
  mlc::testing::TempFolder out;
  const Status ranks = convert_toy("e4m3_e4m3_f16", out.path(), 2);
  EXPECT_EQ(ranks.message(),
            "MLC_INTERNAL_PRESHARD_NUM: rows of e4m3_e4m3_f16 share scales and cannot be split for ranks; "
            "unset it");
  const Status experts = convert_toy("fp8_e4m3fn_bf16_block_scale", out.path(), 0, "mixtral");
  EXPECT_NE(experts.message().find("has a scale for 128 rows, an expert of "), std::string::npos)
      << experts.message();
  EXPECT_FALSE(file_exists(out.file("tensor-cache.json")));
}

// A checkpoint of two modules in blocks of 128 x 128, as DeepSeek's: codes of any bits, scales that bfloat16
// holds.
class Float8Blocks : public ::testing::Test {
 protected:
  static constexpr int64_t kK = 200, kGroups = 2;

  // Rows of each module.
  void make(int64_t first, int64_t second) {
    std::string data;
    Json header = Json::object();
    auto add = [&](const std::string& name, const char* dtype, std::vector<int64_t> shape,
                   const std::string& bytes) {
      header[name] = {
          {"dtype", dtype}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data += bytes;
    };
    for (const auto& [name, rows] : {std::pair{"a", first}, {"b", second}}) {
      std::string codes, scales;
      for (int64_t i = 0; i < rows * kK; ++i)
        codes += static_cast<char>((i * 37 + i / kK * 11 + rows) % 0x7F | (i % 3 ? 0 : 0x80));
      for (int64_t i = 0; i < (rows + 127) / 128 * kGroups; ++i) {
        const float scale = 0.5f + 0.125f * static_cast<float>(i);
        scales.append(reinterpret_cast<const char*>(&scale), 4);
      }
      codes_ += codes;
      add(str(name, ".weight"), "F8_E4M3", {rows, kK}, codes);
      add(str(name, ".weight_scale_inv"), "F32", {(rows + 127) / 128, kGroups}, scales);
    }
    const std::string path =
        place_.write("blocks.safetensors", mlc::testing::safetensors(header.dump(), data));
    checkpoint_ = Checkpoint::open(path).value();
    const Json config = {{"quantization_config",
                          {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}}}};
    const Status added = checkpoint_->add_packed(**parse_packing(config, "config.json"));
    ASSERT_TRUE(added.is_ok()) << added.message();
    parameter_.name = "y.weight", parameter_.shape = {first + second, kK};
    parameter_.role = WeightRole::kLinear;
    parameter_.source = SourceExpr::rows_of({"a.weight", "b.weight"});
  }

  // The weight's codes in the folder that a conversion writes; scales_ and notes_ beside.
  std::string converted() {
    auto plan = make_plan({parameter_}, {}, *find_quant_scheme("fp8_e4m3fn_bf16_block_scale"),
                          checkpoint_.get(), "FILE", {.threads = 2});
    EXPECT_TRUE(plan.is_ok()) << plan.status().message();
    notes_ = join(plan->notes, "\n");
    EXPECT_TRUE(convert(*plan, *checkpoint_, place_.file("out"), {.threads = 2}).is_ok());
    auto shards = Shards::open(place_.file("out"));
    const auto bytes = (*shards)->bytes(*(*shards)->find("y.weight")),
               scales = (*shards)->bytes(*(*shards)->find("y.weight_scale_inv"));
    for (size_t i = 0; i < scales.size(); i += 2) {
      uint16_t bits;
      std::memcpy(&bits, scales.data() + i, 2);
      scales_.push_back(bf16_to_f32(bits));
    }
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  mlc::testing::TempFolder place_;
  std::unique_ptr<Checkpoint> checkpoint_;
  frontend::Parameter parameter_;
  std::string codes_, notes_;
  std::vector<float> scales_;
};

TEST_F(Float8Blocks, KeepTheirCodesSideBySide) {
  make(256, 130);
  EXPECT_TRUE(converted() == codes_);
  EXPECT_EQ(scales_, (std::vector<float>{0.5f, 0.625f, 0.75f, 0.875f, 0.5f, 0.625f, 0.75f, 0.875f}));
  EXPECT_NE(notes_.find("1 keep their codes; scales are stored as bfloat16"), std::string::npos) << notes_;
}

TEST_F(Float8Blocks, AreMadeAnewWhereTheyDoNotEndTogether) {
  make(130, 256);
  EXPECT_FALSE(converted() == codes_);
  EXPECT_EQ(scales_.size(), 8u);
  EXPECT_NE(notes_.find("1 are read as floats and quantized again"), std::string::npos) << notes_;
}

}  // namespace
}  // namespace mlc::weights
