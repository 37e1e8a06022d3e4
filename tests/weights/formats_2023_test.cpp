// The schemes of 2023 against an independent packer's bytes
// (tests/data/weights/schemes_2023/make_schemes.py).
#include <gtest/gtest.h>

#include "base/strings.h"
#include "formats/checkpoint.h"
#include "formats/shards.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/plan.h"

namespace mlc::weights {
namespace {

const std::string kFile =
    std::string(MLC_SOURCE_DIR) + "/tests/data/weights/schemes_2023/weights.safetensors";

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Schemes2023 : public ::testing::TestWithParam<const char*> {};

TEST_P(Schemes2023, HaveTheBytesOfAnIndependentPacker) {
  auto source = Checkpoint::open(kFile);
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  frontend::Parameter p;
  p.name = "x.weight", p.shape = {6, 100}, p.role = WeightRole::kLinear;
  p.source = SourceExpr::of(p.name);
  auto plan = make_plan({p}, {}, *find_quant_scheme(GetParam()), source->get(), kFile);
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  mlc::testing::TempFolder out;
  auto result = convert(*plan, **source, out.path(), {.threads = 2});
  ASSERT_TRUE(result.is_ok()) << result.status().message();
  auto shards = Shards::open(out.path());
  ASSERT_TRUE(shards.is_ok()) << shards.status().message();
  for (const char* what : {"q_weight", "q_scale"}) {
    const TensorRecord* record = (*shards)->find(str("x.", what));
    ASSERT_TRUE(record) << what;
    const std::string name = str(GetParam(), ".", what);
    const int index = (*source)->find(name);
    ASSERT_GE(index, 0) << name;
    const SourceTensor& expected = (*source)->tensors()[static_cast<size_t>(index)];
    EXPECT_EQ(record->shape, expected.shape) << what;
    EXPECT_EQ(record->dtype, expected.dtype) << what;
    std::vector<std::byte> scratch;
    EXPECT_TRUE(text_of((*shards)->bytes(*record)) == text_of((*source)->read(index, scratch))) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, Schemes2023,
                         ::testing::Values("q3f16_0_2023", "q3f16_1_2023", "q4f16_0_2023", "q4f16_1_2023",
                                           "q8f16_1"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mlc::weights
