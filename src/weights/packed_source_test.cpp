// Conversions of weights that others quantized: what keeps its codes, what is rounded again, and what is
// said.
#include <gtest/gtest.h>

#include <cstring>

#include "base/strings.h"
#include "formats/build_files.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "formats/quant/reader.h"
#include "formats/safetensors.h"
#include "formats/shards.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/import.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;

class PackedSource : public ::testing::Test {
 protected:
  void open(const std::string& name) {
    const std::string path = str(MLC_SOURCE_DIR "/tests/data/weights/packed/", name, ".safetensors");
    const std::string file = read_file(path).value();
    const SafetensorsHeader header = parse_safetensors(mlc::testing::bytes_of(file), path).value();
    const Json config = {{"quantization_config", parse_json(header.metadata.at(0).second, path).value()}};
    checkpoint_ = Checkpoint::open(path).value();
    ASSERT_TRUE(checkpoint_->add_packed(**parse_packing(config, "config.json")).is_ok());
    std::vector<std::byte> buffer;
    expected_ = mlc::testing::unpacked<float>(checkpoint_->read(checkpoint_->find("X.expected"), buffer));
  }

  // A linear made of the module twice.
  static Parameter fused() {
    Parameter p;
    p.name = "y.weight", p.shape = {16, 256}, p.role = WeightRole::kLinear;
    p.source = SourceExpr::rows_of({"X.weight", "X.weight"});
    return p;
  }

  // The values in the folder that a conversion writes, and in notes_ what it says.
  std::vector<float> converted(const std::string& scheme_name, const Parameter& parameter) {
    const QuantScheme scheme = *find_quant_scheme(scheme_name);
    auto plan = make_plan({parameter}, {"expected"}, scheme, checkpoint_.get(), "FILE", {.threads = 2});
    EXPECT_TRUE(plan.is_ok()) << plan.status().message();
    if (!plan.is_ok()) return {};
    notes_ = join(plan->notes, "\n");
    const std::string out = folder_.file(scheme_name);
    EXPECT_TRUE(convert(*plan, *checkpoint_, out, {.threads = 2}).is_ok());
    auto shards = Shards::open(out);
    WeightFormat format = scheme.format_of(parameter.role, true);
    std::vector<std::span<const std::byte>> records;
    for (const FormatRecord& record : format_records(format, parameter.shape)) {
      const TensorRecord* found = (*shards)->find("y." + record.name);
      EXPECT_NE(found, nullptr) << record.name;
      records.push_back((*shards)->bytes(*found));
    }
    if (format.zero != WeightFormat::Zero::kPaired && format.dtype == DType::kF32)
      format.dtype = DType::kBF16;
    std::vector<float> values(static_cast<size_t>(shape_elements(parameter.shape)));
    read_weight(format, shape_elements(parameter.shape) / parameter.shape.back(), parameter.shape.back(),
                records, values);
    return values;
  }

  std::vector<float> twice() const {
    std::vector<float> values = expected_;
    values.insert(values.end(), expected_.begin(), expected_.end());
    return values;
  }

  mlc::testing::TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<float> expected_;
  std::string notes_;
};

TEST_F(PackedSource, KeepsCodesWhereTheSchemeHoldsThem) {
  const std::pair<const char*, const char*> kept[] = {
      {"gptq_sym_g32", "q4f16_1"},           {"gptq_sym_g32", "q4f16_0"},
      {"gptq_sym_g128", "q4f16_1"},          {"compressed_sym_g128", "q4bf16_1"},
      {"compressed_sym_g128", "q4f32_1"},    {"mlx_g32_bf16", "q4f32_0"},
      {"gptq_g128", "q4f16_autoawq"},        {"gptq_v2_g64", "q4f16_autoawq_g64"},
      {"gptq_sym_g32", "q4f16_autoawq_g32"}, {"awq_g32", "q4f16_autoawq_g32"},
      {"awq_g128", "q4f16_autoawq"}};
  for (const auto& [name, scheme] : kept) {
    open(name);
    EXPECT_EQ(converted(scheme, fused()), twice()) << name << " " << scheme;
    EXPECT_NE(notes_.find("1 keep their codes, nothing is rounded"), std::string::npos)
        << name << " " << scheme << ": " << notes_;
    EXPECT_EQ(notes_.find("quantized again"), std::string::npos) << notes_;
  }
}

TEST_F(PackedSource, OthersAreReadAsFloats) {
  const std::pair<const char*, const char*> cases[] = {
      {"gptq_g128", "q4f16_autoawq keeps their codes"},
      {"awq_g64", "q4f16_autoawq_g64 keeps their codes"},
      {"gptq_act_order", "no quantization here holds their codes"},
      {"nf4_twice", "no quantization here holds their codes"},
      {"fp8_blocks", "no quantization here holds their codes"},
      {"mlx_g32_bf16", "q4f32_0 keeps their codes"}};
  for (const auto& [name, note] : cases) {
    open(name);
    std::vector<float> values = twice();
    round_floats(DType::kF16, values);
    const WeightFormat format = WeightFormat::grouped(4, DType::kF16, false);
    std::vector<uint32_t> words(static_cast<size_t>(format.words(256)));
    std::vector<std::byte> scales(static_cast<size_t>(2 * format.groups(256)));
    const std::span<const std::byte> records[] = {std::as_bytes(std::span(words)), scales};
    for (size_t at = 0; at < values.size(); at += 256) {
      const std::span<float> row(values.data() + at, 256);
      quantize_row(format, row, words.data(), scales.data());
      read_weight(format, 1, 256, records, row);
    }
    EXPECT_EQ(converted("q4f16_1", fused()), values) << name;
    EXPECT_NE(notes_.find("1 are read as floats and quantized again, which rounds twice; "),
              std::string::npos)
        << notes_;
    EXPECT_NE(notes_.find(note), std::string::npos) << notes_;
  }
}

TEST_F(PackedSource, UnquantizedSchemesStoreTheFloats) {
  open("nf4");
  std::vector<float> values = twice();
  round_floats(DType::kF16, values);
  const QuantScheme scheme = *find_quant_scheme("q0f16");
  auto plan = make_plan({fused()}, {"expected"}, scheme, checkpoint_.get(), "FILE");
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  EXPECT_NE(join(plan->notes, "\n").find("1 are stored as the floats that they stand for"),
            std::string::npos);
  ASSERT_TRUE(convert(*plan, *checkpoint_, folder_.file("plain"), {}).is_ok());
  auto shards = Shards::open(folder_.file("plain"));
  std::vector<float> got(values.size());
  decode_floats(DType::kF16, (*shards)->bytes(*(*shards)->find("y.weight")).data(), got);
  EXPECT_EQ(got, values);
}

// Experts, which a model's source turns around.
TEST_F(PackedSource, StackedWeightsAreReadAsTheyLie) {
  open("mxfp4");
  Parameter p;
  p.name = "y.weight", p.shape = {2, 8, 96}, p.role = WeightRole::kLinear;
  p.source = SourceExpr::permute(SourceExpr::transpose(SourceExpr::of("X")), 1, {4, 2}, {1, 0});
  auto plan =
      make_plan({p}, {"expected"}, *find_quant_scheme("q0f32"), checkpoint_.get(), "FILE", {.raw_f32 = true});
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  ASSERT_TRUE(convert(*plan, *checkpoint_, folder_.file("stacked"), {}).is_ok());
  auto shards = Shards::open(folder_.file("stacked"));
  const std::vector<float> got =
      mlc::testing::unpacked<float>((*shards)->bytes(*(*shards)->find("y.weight")));
  for (size_t e = 0; e < 2; ++e)
    for (size_t r = 0; r < 8; ++r)
      for (size_t c = 0; c < 96; ++c)
        ASSERT_EQ(got[(e * 8 + r) * 96 + c], expected_[(e * 96 + c) * 8 + (r % 4 * 2 + r / 4)])
            << e << r << c;
}

}  // namespace
}  // namespace mlc::weights
