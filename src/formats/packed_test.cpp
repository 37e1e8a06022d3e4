// Weights that others quantized: their values, the formats that hold them without rounding, and what wrong
// ones get. The files are of tests/data/weights/packed/make_packed.py, which packs by itself.
#include "formats/packed.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/half.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "formats/checkpoint.h"
#include "formats/quant/repack.h"
#include "formats/safetensors.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

const std::string kFolder = MLC_SOURCE_DIR "/tests/data/weights/packed/";

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

Json config_of(const std::string& path) {
  const std::string file = read_file(path).value();
  const SafetensorsHeader header = parse_safetensors(testing::bytes_of(file), path).value();
  return {{"quantization_config", parse_json(header.metadata.at(0).second, path).value()}};
}

struct Opened {
  std::unique_ptr<Checkpoint> checkpoint;
  Status status;
};

Opened open(const std::string& path, Json config) {
  Opened opened{Checkpoint::open(path).value(), Status::ok()};
  auto packing = parse_packing(config, "config.json");
  opened.status = packing.status();
  if (packing.is_ok() && *packing) opened.status = opened.checkpoint->add_packed(**packing);
  return opened;
}

std::vector<float> floats_of(const Checkpoint& checkpoint, const std::string& name) {
  const int index = checkpoint.find(name);
  if (index < 0) return {};
  std::vector<std::byte> buffer;
  return testing::unpacked<float>(checkpoint.read(index, buffer));
}

class Packed : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string path = kFolder + GetParam() + ".safetensors";
    Opened opened = open(path, config_of(path));
    ASSERT_TRUE(opened.status.is_ok()) << opened.status.message();
    checkpoint = std::move(opened.checkpoint);
    index = checkpoint->find(checkpoint->find("X") < 0 ? "X.weight" : "X");
    ASSERT_GE(index, 0);
    weight = checkpoint->packed(index);
    ASSERT_NE(weight, nullptr);
    expected = floats_of(*checkpoint, "X.expected");
  }

  std::unique_ptr<Checkpoint> checkpoint;
  int index = -1;
  const PackedWeight* weight = nullptr;
  std::vector<float> expected;
};

TEST_P(Packed, HasTheValuesThatWerePacked) {
  std::vector<std::byte> buffer;
  const SourceTensor& tensor = checkpoint->tensors()[static_cast<size_t>(index)];
  ASSERT_EQ(tensor.shape, checkpoint->tensors()[static_cast<size_t>(checkpoint->find("X.expected"))].shape);
  EXPECT_EQ(testing::unpacked<float>(checkpoint->read(index, buffer)), expected);
  const int64_t rows = tensor.shape[0], row = tensor.byte_size / 4 / rows;
  const std::vector<float> tail(expected.begin() + rows / 2 * row, expected.end());
  EXPECT_EQ(testing::unpacked<float>(checkpoint->read_rows(index, rows / 2, rows, buffer)), tail);
  const int64_t width = tensor.shape.back(), lines = static_cast<int64_t>(expected.size()) / width;
  const std::vector<float> middle(expected.begin() + 3 * width, expected.begin() + (lines - 2) * width);
  EXPECT_EQ(testing::unpacked<float>(checkpoint->read_lines(index, 3, lines - 2, buffer)), middle);
}

TEST_P(Packed, TurnedOnesAreTheSame) {
  const int turned = checkpoint->transposed(index);
  if (turned < 0) return;
  std::vector<std::byte> buffer;
  const std::vector<float> rows = testing::unpacked<float>(checkpoint->read(turned, buffer));
  const int64_t n = weight->n(), k = weight->k();
  ASSERT_EQ(rows.size(), expected.size());
  for (int64_t e = 0; e < weight->count(); ++e)
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < k; ++c)
        ASSERT_EQ(rows[static_cast<size_t>((e * n + r) * k + c)],
                  expected[static_cast<size_t>((e * k + c) * n + r)]);
}

// The values of a weight after repacking its rows.
std::vector<float> repacked(const WeightReader& from, const WeightFormat& to) {
  const int64_t n = from.n(), k = from.k();
  std::vector<float> values(static_cast<size_t>(n * k));
  std::vector<uint32_t> words(static_cast<size_t>(to.words(k)));
  const bool paired = to.zero == WeightFormat::Zero::kPaired;
  std::vector<std::byte> scales(static_cast<size_t>(to.groups(k) * (paired ? 4 : 2)));
  WeightFormat rows = to;
  rows.transposed = false;
  if (!paired && to.dtype == DType::kF32) rows.dtype = DType::kBF16;  // as the file has them
  for (int64_t r = 0; r < n; ++r) {
    const int64_t half = k / 2 / to.group * to.group;  // a row may come in parts
    repack_row(from, r, 0, half, to, words.data(), scales.data());
    repack_row(from, r, half, k, to, words.data() + to.words(half),
               scales.data() + to.groups(half) * (paired ? 4 : 2));
    const std::span<const std::byte> records[] = {std::as_bytes(std::span(words)), scales};
    read_weight(rows, 1, k, records, {values.data() + r * k, static_cast<size_t>(k)});
  }
  return values;
}

TEST_P(Packed, KeepsItsCodesWhereAFormatHoldsThem) {
  static const std::map<std::string, std::string> kHolds = {{"gptq_sym_g32", "f16"},
                                                            {"gptq_sym_g128", "f16"},
                                                            {"compressed_sym_g128", "bf16 f32 f16"},
                                                            {"mlx_g32_bf16", "f32 paired"}};
  const auto known = kHolds.find(GetParam());
  const std::string holds = known == kHolds.end() ? "" : known->second;
  std::string found;
  for (bool transposed : {false, true})
    for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
      const WeightFormat to = WeightFormat::grouped(4, dtype, transposed);
      if (weight->shape.size() == 3 || !can_repack(weight->reader(), to)) continue;
      EXPECT_NE(holds.find(short_name(dtype)), std::string::npos) << to.text();
      EXPECT_EQ(repacked(weight->reader(), to), expected) << to.text();
      found += to.text();
    }
  const WeightFormat paired = WeightFormat::paired(false);
  if (weight->shape.size() == 2 && can_repack(weight->reader(), paired)) {
    EXPECT_NE(holds.find("paired"), std::string::npos);
    EXPECT_EQ(repacked(weight->reader(), paired), expected);
    found += "paired";
  }
  EXPECT_EQ(found.empty(), holds.empty());
}

TEST_P(Packed, AwqsRecordsHoldZeroPoints) {
  static const std::map<std::string, int> kGroups = {
      {"gptq_g128", 128}, {"gptq_v2_g64", 64}, {"gptq_sym_g32", 32}, {"gptq_sym_g128", 128},
      {"awq_g32", 32},    {"awq_g64", 64},     {"awq_g128", 128}};
  const auto group = kGroups.find(GetParam());
  const int codes = checkpoint->find("X.qweight");
  const bool view =
      codes >= 0 && checkpoint->tensors()[static_cast<size_t>(codes)].role == SourceTensor::Role::kView;
  if (group == kGroups.end()) {
    EXPECT_FALSE(view);
    return;
  }
  std::vector<std::vector<std::byte>> records;
  const WeightFormat awq = WeightFormat::awq(group->second);
  for (const FormatRecord& record : format_records(awq, weight->shape)) {
    const int found = checkpoint->find("X." + record.name);
    ASSERT_GE(found, 0) << record.name;
    EXPECT_EQ(checkpoint->tensors()[static_cast<size_t>(found)].shape, record.shape) << record.name;
    std::vector<std::byte> all, buffer;
    for (int64_t line = 0; line < record.shape[0]; ++line) {
      const auto bytes = checkpoint->read_lines(found, line, line + 1, buffer);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    records.push_back(std::move(all));
  }
  const std::vector<std::span<const std::byte>> spans(records.begin(), records.end());
  std::vector<float> values(expected.size());
  read_weight(awq, weight->n(), weight->k(), spans, values);
  EXPECT_EQ(values, expected);
}

INSTANTIATE_TEST_SUITE_P(Cases, Packed, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param; });

// FP4 and bytes of GGUF's kind fit in 8 bits.
TEST(PackedWeights, Fp4FitsInEightBits) {
  const std::string path = kFolder + "mxfp4.safetensors";
  const Opened opened = open(path, config_of(path));
  WeightFormat to = WeightFormat::grouped(4, DType::kF16, false);
  to.bits = 8;
  const PackedWeight& weight = *opened.checkpoint->packed(opened.checkpoint->find("X"));
  const int turned = opened.checkpoint->transposed(opened.checkpoint->find("X"));
  std::vector<std::byte> buffer;
  const std::vector<float> expected = testing::unpacked<float>(opened.checkpoint->read(turned, buffer));
  std::vector<float> got;
  for (int64_t e = 0; e < weight.count(); ++e) {
    ASSERT_TRUE(can_repack(weight.reader(e), to));
    const std::vector<float> one = repacked(weight.reader(e), to);
    got.insert(got.end(), one.begin(), one.end());
  }
  EXPECT_EQ(got, expected);
}

class BadPacking : public ::testing::Test {
 protected:
  // What is said of a file of one of the cases without a tensor, or with other bytes in it.
  std::string error(const std::string& name, const std::string& without, const std::string& filled = "") {
    const std::string path = kFolder + name + ".safetensors";
    const std::string file = read_file(path).value();
    const SafetensorsHeader header = parse_safetensors(testing::bytes_of(file), path).value();
    Json text = Json::object();
    std::string data;
    for (const SafetensorsEntry& e : header.entries) {
      if (e.name == without) continue;
      std::string bytes = file.substr(e.offset, e.size);
      if (e.name == filled) bytes.assign(bytes.size(), '\x7F');
      text[e.name] = {
          {"dtype", e.type}, {"shape", e.shape}, {"data_offsets", {data.size(), data.size() + e.size}}};
      data += bytes;
    }
    const std::string written = folder_.write("model.safetensors", testing::safetensors(text.dump(), data));
    const Opened opened = open(written, config_of(path));
    std::string message = opened.status.is_ok() ? "ok" : opened.status.message();
    if (message.starts_with(written)) message = message.substr(written.size() + 2);
    return message;
  }

  static std::string config_error(Json packing) {
    auto parsed = parse_packing({{"quantization_config", std::move(packing)}}, "config.json");
    return parsed.is_ok() ? "ok" : parsed.status().message();
  }

  mlc::testing::TempFolder folder_;
};

TEST_F(BadPacking, MissingAndDamagedPartsAreNamed) {
  EXPECT_EQ(
      error("gptq_act_order", "X.g_idx"),
      "tensor 'X.qweight' was packed with act-order (desc_act), but its 'X.g_idx' is missing, which says in "
      "which group each input is; download the whole checkpoint");
  EXPECT_EQ(error("gptq_g128", "X.g_idx"), "ok");
  EXPECT_EQ(error("gptq_g128", "X.scales"),
            "tensor 'X.qweight' needs 'X.scales', which is missing; download the checkpoint again");
  EXPECT_EQ(error("gptq_act_order", "", "X.g_idx"),
            "tensor 'X.g_idx' names group 2139062143 of 8; the file is damaged");
  EXPECT_EQ(error("nf4_twice", "X.weight.nested_quant_map").find("tensor 'X.weight.quant_state"), 0u);
  EXPECT_NE(error("nf4", "", "X.weight.quant_state.bitsandbytes__nf4"), "ok");
  EXPECT_NE(error("compressed_g32", "", "X.weight_shape").find("says that 'X.weight_packed' is a weight ["),
            std::string::npos);
  EXPECT_EQ(error("mxfp4", "X_scales"),
            "tensor 'X_blocks' needs 'X_scales', which is missing; download the checkpoint again");
}

TEST_F(BadPacking, SettingsThatNobodyReadsGetOneSentence) {
  const std::string supported =
      ", expected plain weights (F16, BF16 or F32) or one of AWQ (version gemm), GPTQ, compressed-tensors "
      "(pack-quantized, float- and int-quantized), fp8, mxfp4, bitsandbytes (4 bits) and MLX (2, 4 and 8 "
      "bits); "
      "convert the checkpoint it was made from, or a GGUF file of it";
  const std::string begin =
      "config.json: key 'quantization_config' says that the weights are already quantized by ";
  EXPECT_EQ(config_error({{"quant_method", "hqq"}}),
            begin + "'hqq', a method that nobody here reads" + supported);
  EXPECT_EQ(config_error({{"quant_method", "gptq"}, {"bits", 3}, {"group_size", 128}}),
            begin + "'gptq' with 3 bits" + supported);
  EXPECT_EQ(config_error({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 7}}),
            begin + "'gptq' with groups of 7" + supported);
  EXPECT_EQ(config_error({{"quant_method", "awq"}, {"bits", 4}, {"version", "gemv"}}),
            begin + "'awq' with version 'gemv'" + supported);
  EXPECT_EQ(config_error({{"quant_method", "fp8"}, {"weight_block_size", {128, -1}}}),
            begin + "'fp8' with blocks of '[128,-1]'" + supported);
  EXPECT_EQ(config_error({{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}}),
            begin + "'bitsandbytes' without load_in_4bit" + supported);
  EXPECT_EQ(config_error({{"load_in_4bit", false}, {"load_in_8bit", false}}), "ok");
}

TEST(PackingConfig, SaysWhichSchemeTakesTheCodes) {
  auto kept = [](Json packing) {
    return (*parse_packing({{"quantization_config", packing}}, ""))->kept_by();
  };
  EXPECT_EQ(kept({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 128}}), "q4f16_autoawq");
  EXPECT_EQ(kept({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}}), "q4f16_autoawq_g32");
  EXPECT_EQ(kept({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"desc_act", true}}), "");
  EXPECT_EQ(kept({{"quant_method", "gptq"}, {"bits", 8}, {"group_size", 128}}), "");
  EXPECT_EQ(kept({{"quant_method", "mxfp4"}}), "");
}

}  // namespace
}  // namespace mlc
