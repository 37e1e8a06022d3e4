// Folders of 2023, made of toys: every record comes out as today's converter writes it, to the bit.
#include "formats/params_2023.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/folder_2023.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/config_2023.h"
#include "weights/convert.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

void expect_same_records(const std::string& toy, const std::string& scheme_name, bool combined) {
  SCOPED_TRACE(toy + " " + scheme_name);
  const ModelSource source = must(open_source({.config = mlc::testing::toy_file(toy, "")}));
  const QuantScheme scheme = must(find_quant_scheme(scheme_name));
  const frontend::BuiltModel built = frontend::build_model(source.config, scheme);
  Plan plan = must(make_plan(built.parameters, built.unused_sources, scheme, source.checkpoint.get(), toy));
  mlc::testing::TempFolder today, old;
  must(convert(plan, *source.checkpoint, today.path(), {.threads = 2}));
  mlc::testing::Folder2023(today.path(), source.hf_config, combined).write(old.path(), "vicuna_v1.1");

  const auto expected = must(Shards::open(today.path())), found = must(Shards::open(old.path()));
  EXPECT_EQ(found->index().param_count, expected->index().param_count);
  for (const ShardRecord& shard : expected->index().shards)
    for (const TensorRecord& t : shard.tensors) {
      const TensorRecord* made = found->find(t.name);
      ASSERT_NE(made, nullptr) << t.name;
      EXPECT_EQ(made->shape, t.shape) << t.name;
      EXPECT_EQ(made->dtype, t.dtype) << t.name;
      if (t.stored_dtype() != t.dtype) continue;  // today's float32 lies there as bfloat16
      for (int twice = 0; twice < 2; ++twice) {
        EXPECT_TRUE(std::ranges::equal(found->bytes(*made), expected->bytes(t))) << t.name;
        found->release(*made);
      }
    }
  const Json config = must(read_chat_config(path_join(old.path(), "mlc-chat-config.json")));
  EXPECT_EQ(config["quantization"], scheme_name);
  EXPECT_EQ(config["model_config"]["num_hidden_layers"], source.hf_config["num_hidden_layers"]);
  EXPECT_EQ(config["conv_template"], "vicuna_v1.1");
}

TEST(Params2023, AreTodaysRecords) {
  for (const char* scheme : {"q3f16_0_2023", "q3f16_1_2023", "q4f16_0_2023", "q4f16_1_2023", "q4f16_2",
                             "q4f32_0", "q4f32_1_2023", "q8f16_1", "q0f16", "q0f32"}) {
    expect_same_records("gpt_neox", scheme, false);
    expect_same_records("llama", scheme, false);
    expect_same_records("llama", scheme, true);
  }
}

}  // namespace
}  // namespace mlc::weights
