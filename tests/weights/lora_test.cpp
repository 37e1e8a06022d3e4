// Checkpoints that an adapter is merged into: what they read as, and what does not fit.
#include <gtest/gtest.h>

#include <cmath>

#include "formats/quant/plain.h"
#include "support/lora_folder.h"
#include "support/toys.h"
#include "weights/convert.h"
#include "weights/journal.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

using testing::LoraMatrices;
using testing::toy_file;

class MergedLora : public ::testing::Test {
 protected:
  Result<ModelSource> open(const std::string& toy, std::map<std::string, LoraMatrices> modules,
                           bool fan_in_fan_out = false, double alpha = 6) {
    matrices = std::move(modules);
    testing::write_lora_folder(folder.path(), matrices, alpha, fan_in_fan_out);
    return open_source({.config = toy_file(toy, ""), .lora_adapter = folder.path()});
  }
  static std::vector<float> read(const Checkpoint& checkpoint, int index) {
    std::vector<std::byte> buffer;
    const SourceTensor& t = checkpoint.tensors()[static_cast<size_t>(index)];
    std::vector<float> values(static_cast<size_t>(t.byte_size / size_of(t.dtype)));
    decode_floats(t.dtype, checkpoint.read(index, buffer).data(), values);
    return values;
  }
  static std::string refused(const Result<ModelSource>& source) {
    return source.is_ok() ? "nothing" : source.status().message();
  }

  testing::TempFolder folder;
  std::map<std::string, LoraMatrices> matrices;
};

// gpt2's weights are [in, out], and PEFT knows its modules with a wrapper's name.
TEST_F(MergedLora, ReadsAsWPlusBA) {
  const auto plain = open_source({.config = toy_file("gpt2", "")});
  ASSERT_TRUE(plain.is_ok());
  int index = -1;
  for (const SourceTensor& t : plain->checkpoint->tensors())
    if (t.name.ends_with("h.1.attn.c_proj.weight")) index = plain->checkpoint->find(t.name);
  ASSERT_GE(index, 0);
  const SourceTensor& tensor = plain->checkpoint->tensors()[static_cast<size_t>(index)];
  const int64_t in = tensor.shape[0], out = tensor.shape[1];
  const auto merged =
      open("gpt2", {{"transformer.h.1.attn.c_proj", {.rank = 3, .in = in, .out = out}}}, true);
  ASSERT_TRUE(merged.is_ok()) << merged.status().message();
  const std::vector<float> before = read(*plain->checkpoint, index), after = read(*merged->checkpoint, index);
  const LoraMatrices& m = matrices.begin()->second;
  double largest = 0;
  for (int64_t i = 0; i < in; ++i)
    for (int64_t o = 0; o < out; ++o) {
      double change = 0;
      for (int64_t j = 0; j < 3; ++j)
        change += double{m.b[static_cast<size_t>(o * 3 + j)]} * m.a[static_cast<size_t>(j * in + i)];
      const auto at = static_cast<size_t>(i * out + o);
      // Five roundings of values up to 2 * 3 + 1.
      ASSERT_NEAR(after[at], before[at] + 2 * change, 5 * 7 * 0x1p-24) << i << ", " << o;
      largest = std::max(largest, std::fabs(change));
    }
  EXPECT_GT(largest, 0.5);
  EXPECT_EQ(merged->checkpoint->merged_tensors(), std::vector<std::string>{tensor.name});
  bool noted = false;
  for (const std::string& note : merged->config.notes)
    noted |= note.find("merged into 1 tensors, rank 3") != std::string::npos;
  EXPECT_TRUE(noted);
  const int other = index == 0 ? 1 : 0;
  EXPECT_EQ(read(*plain->checkpoint, other), read(*merged->checkpoint, other));
}

const std::string kQ = "model.layers.0.self_attn.q_proj";

TEST_F(MergedLora, AnotherBaseIsRefused) {
  EXPECT_EQ(refused(open("llama", {{"model.layers.9.self_attn.q_proj", {.rank = 2, .in = 96, .out = 96}}})),
            "--lora-adapter: " + folder.path() +
                ": the adapter changes 'model.layers.9.self_attn.q_proj', which " + toy_file("llama", "") +
                "model.safetensors has not; it was made for 'test/base'");
  const std::string shapes = refused(open("llama", {{kQ, {.rank = 2, .in = 64, .out = 96}}}));
  EXPECT_NE(shapes.find("of shape [96, 64]"), std::string::npos) << shapes;
  EXPECT_NE(shapes.find("has [96, 96]; it was made for 'test/base'"), std::string::npos) << shapes;
}

// An interrupted conversion does not go on with another adapter, nor with the same one changed.
TEST_F(MergedLora, IsPartOfTheConversionsName) {
  auto name_of = [&](const ModelSource& source) {
    const QuantScheme scheme = *find_quant_scheme("q4f16_1");
    const frontend::BuiltModel model = frontend::build_model(source.config, scheme);
    auto plan = make_plan(model.parameters, model.unused_sources, scheme, source.checkpoint.get(), "llama");
    EXPECT_TRUE(plan.is_ok()) << plan.status().message();
    return conversion_fingerprint(*plan, *source.checkpoint);
  };
  const auto plain = open_source({.config = toy_file("llama", "")});
  const auto one = open("llama", {{kQ, {.rank = 2, .in = 96, .out = 96}}}, false, 6);
  const std::string of_plain = name_of(*plain), of_one = name_of(*one);
  EXPECT_NE(of_plain, of_one);
  EXPECT_EQ(of_one, name_of(*open_source({.config = toy_file("llama", ""), .lora_adapter = folder.path()})));
  const auto other = open("llama", {{kQ, {.rank = 2, .in = 96, .out = 96}}}, false, 16);
  EXPECT_NE(of_one, name_of(*other));
}

}  // namespace
}  // namespace mlc::weights
