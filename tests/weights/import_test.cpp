// Checkpoints whose weights are quantized already: what is copied, and what wrong ones get.
#include "weights/import.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/convert.h"

namespace mlc::weights {
namespace {

using frontend::Parameter;
using mlc::testing::toy_file;

struct Tensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
};

class Import : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> checkpoint(const std::vector<Tensor>& tensors) {
    Json header = Json::object();
    std::string data;
    for (const Tensor& t : tensors) {
      const size_t begin = data.size();
      for (int64_t i = 0; i < t.shape[0] * t.shape[1] * (t.dtype == "F16" ? 2 : 4); ++i)
        data += static_cast<char>('a' + (i + static_cast<int64_t>(begin)) % 23);
      header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {begin, data.size()}}};
    }
    return Checkpoint::open(
               folder_.write("model.safetensors", mlc::testing::safetensors(header.dump(), data)))
        .value();
  }

  // A linear of 24 outputs and 256 inputs, made of two modules.
  static Parameter fused() {
    Parameter p;
    p.name = "qk.weight", p.shape = {24, 256}, p.role = WeightRole::kLinear;
    p.source = SourceExpr::rows_of({"q.weight", "k.weight"});
    return p;
  }

  static std::vector<Tensor> modules() {
    return {{"q.qweight", "I32", {256, 2}}, {"q.qzeros", "I32", {2, 2}}, {"q.scales", "F16", {2, 16}},
            {"k.qweight", "I32", {256, 1}}, {"k.qzeros", "I32", {2, 1}}, {"k.scales", "F16", {2, 8}}};
  }

  std::string error(const std::vector<Tensor>& tensors, const Parameter& p, int ranks = 0) {
    auto source = checkpoint(tensors);
    auto plan =
        make_plan({p}, {}, *find_quant_scheme("q4f16_autoawq"), source.get(), "FILE", {.ranks = ranks});
    return plan.is_ok() ? "ok" : plan.status().message();
  }

  mlc::testing::TempFolder folder_;
};

TEST_F(Import, CopiesRecordsSideBySide) {
  auto source = checkpoint(modules());
  auto plan = make_plan({fused()}, {}, *find_quant_scheme("q4f16_autoawq"), source.get(), "FILE");
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  ASSERT_TRUE(convert(*plan, *source, folder_.file("out"), {.threads = 2}).is_ok());
  auto shards = Shards::open(folder_.file("out"));
  ASSERT_TRUE(shards.is_ok());
  for (const FormatRecord& record : format_records(WeightFormat::awq(), {24, 256})) {
    const TensorRecord* found = (*shards)->find("qk." + record.name);
    ASSERT_NE(found, nullptr) << record.name;
    EXPECT_EQ(found->shape, record.shape);
    std::vector<std::byte> scratch, expected;
    for (int64_t row = 0; row < record.shape[0]; ++row)
      for (const char* module : {"q.", "k."}) {
        std::span<const std::byte> bytes = source->read(source->find(module + record.name), scratch);
        const size_t size = bytes.size() / static_cast<size_t>(record.shape[0]);
        const auto part = bytes.subspan(static_cast<size_t>(row) * size, size);
        expected.insert(expected.end(), part.begin(), part.end());
      }
    const auto got = (*shards)->bytes(*found);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin(), expected.end())) << record.name;
  }
}

TEST_F(Import, WrongCheckpointsGetOneSentence) {
  EXPECT_EQ(error(modules(), fused()), "ok");
  std::vector<Tensor> tensors = modules();
  tensors.erase(tensors.begin() + 1);
  EXPECT_EQ(error(tensors, fused()).find("FILE: tensor 'q.qzeros' is missing, needed for qk.qzeros"), 0u)
      << error(tensors, fused());
  tensors = modules();
  tensors[0].shape = {128, 2};
  EXPECT_NE(error(tensors, fused())
                .find("tensor 'q.qweight' has shape [128, 2], expected its columns of [256, 3] "
                      "(q.qweight + k.qweight) for qk.qweight"),
            std::string::npos)
      << error(tensors, fused());
  tensors = modules();
  tensors[0].dtype = "F32";
  EXPECT_NE(error(tensors, fused()).find("tensor 'q.qweight' is float32, expected I32 words of packed codes"),
            std::string::npos)
      << error(tensors, fused());
  EXPECT_EQ(error(modules(), fused(), 2),
            "MLC_INTERNAL_PRESHARD_NUM: weights of q4f16_autoawq are copied as they are and cannot be split "
            "for ranks; "
            "unset it");
  Parameter turned = fused();
  turned.source = SourceExpr::transpose(SourceExpr::of("q.weight"));
  EXPECT_EQ(error(modules(), turned).find("--quantization: qk.weight of this model is made of parts"), 0u);
}

TEST(Quantization, FitsWhatTheConfigSaysOfTheWeights) {
  auto said = [](const std::string& toy, const std::string& scheme) {
    auto source = open_source({.config = toy_file(toy, ""), .with_checkpoint = false});
    if (!source.is_ok()) return source.status().message();
    const Status status = check_quantization(*source, *find_quant_scheme(scheme));
    return status.is_ok() ? std::string("ok") : status.message();
  };
  EXPECT_EQ(said("llama_awq", "q4f16_autoawq"), "ok");
  EXPECT_EQ(said("llama_awq", "q4f16_awq"), "ok");
  EXPECT_EQ(said("llama", "q4f16_1"), "ok");
  EXPECT_EQ(said("llama_awq", "q4f16_1"), "ok");  // read as floats and quantized again, with a note
  EXPECT_EQ(
      said("llama_awq", "q4f16_autoawq_g32")
          .find(
              "--quantization: q4f16_autoawq_g32 copies codes of 4 bits with zero points in groups of 32, "),
      0u)
      << said("llama_awq", "q4f16_autoawq_g32");
  EXPECT_NE(said("llama_awq", "q4f16_autoawq_g32").find("choose q4f16_autoawq"), std::string::npos);
  EXPECT_EQ(said("llama", "q4f16_autoawq")
                .find("--quantization: q4f16_autoawq takes weights that AWQ or GPTQ quantized, "),
            0u)
      << said("llama", "q4f16_autoawq");
}

TEST(Quantization, OfAwqOnlyWhatRunsIsTaken) {
  Json config = read_json_file(toy_file("llama_awq", "config.json")).value();
  config["quantization_config"]["bits"] = 3;
  auto parsed = frontend::parse_hf_config(config, "auto", "config.json");
  ASSERT_FALSE(parsed.is_ok());
  EXPECT_EQ(
      parsed.status().message(),
      "config.json: key 'quantization_config' says that the weights are already quantized by 'awq' with 3 "
      "bits, "
      "expected plain weights (F16, BF16 or F32) or one of AWQ (version gemm), GPTQ, compressed-tensors "
      "(pack-quantized, float- and int-quantized), fp8, mxfp4, bitsandbytes (4 bits) and MLX (2, 4 and 8 "
      "bits); "
      "convert the checkpoint it was made from, or a GGUF file of it");
}

}  // namespace
}  // namespace mlc::weights
