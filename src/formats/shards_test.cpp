// Shard layout, index text and what a bad index gets.
#include "formats/shards.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/strings.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

TensorRecord tensor(const std::string& name, int64_t size) {
  TensorRecord t;
  t.name = name, t.shape = {size}, t.dtype = DType::kU8, t.size = size;
  return t;
}

// "0:[a@0 b@5] 1:[c@0]" for a layout.
std::string shown(const std::vector<ShardRecord>& shards) {
  std::string text;
  for (const ShardRecord& s : shards) {
    text += str(text.empty() ? "" : " ", s.file, " ", s.size, ":");
    for (const TensorRecord& t : s.tensors) text += str(" ", t.name, "@", t.offset);
  }
  return text;
}

TEST(Shards, LayoutFollowsTheOriginalsRule) {
  constexpr int64_t kMiB = 1 << 20;
  // Just below the cap: together. Reaching it exactly: apart.
  EXPECT_EQ(shown(lay_out_shards({tensor("a", 16 * kMiB), tensor("b", 16 * kMiB - 1)})),
            "params_shard_0.bin 33554431: a@0 b@16777216");
  EXPECT_EQ(shown(lay_out_shards({tensor("a", 20 * kMiB), tensor("b", 12 * kMiB)})),
            "params_shard_0.bin 20971520: a@0 params_shard_1.bin 12582912: b@0");
  // A big tensor jumps ahead of the pending small one, which stays open for the next.
  EXPECT_EQ(shown(lay_out_shards({tensor("small", 10), tensor("big", 40 * kMiB), tensor("next", 7)})),
            "params_shard_0.bin 41943040: big@0 params_shard_1.bin 17: small@0 next@10");
  EXPECT_EQ(shown(lay_out_shards({})), "");
}

ShardIndex small_index() {
  ShardIndex index;
  index.param_count = 2, index.param_bytes = 20, index.bits_per_param = 4.5;
  TensorRecord a = tensor("a", 6);
  a.shape = {2, 3};
  TensorRecord b;
  b.name = "b", b.shape = {7}, b.dtype = DType::kF32, b.size = 14, b.offset = 6;
  ShardRecord shard;
  shard.file = "params_shard_0.bin", shard.size = 20, shard.md5 = std::string(32, 'a'),
  shard.tensors = {a, b};
  index.shards = {shard};
  return index;
}

TEST(Shards, TextRoundTripsAndTwinSaysBfloat16) {
  ShardIndex index = small_index();
  std::string text = shard_index_text(index);
  EXPECT_EQ(text, Json::parse(text).dump(4));
  auto back = parse_shard_index(text, "index");
  ASSERT_TRUE(back.is_ok()) << back.status().message();
  EXPECT_EQ(shard_index_text(*back), text);
  bool needed = false;
  ShardIndex twin = bf16_twin(index, needed);
  EXPECT_TRUE(needed);
  EXPECT_EQ(twin.shards[0].tensors[1].dtype, DType::kBF16);
  EXPECT_EQ(twin.shards[0].tensors[1].format, RecordFormat::kRaw);
  EXPECT_EQ(twin.shards[0].tensors[0].format, RecordFormat::kF32ToBF16);
}

TEST(Shards, BadIndicesGetOneSentence) {
  std::string good = shard_index_text(small_index());
  struct Case {
    const char *from, *to, *expected;
  };
  const Case cases[] = {
      {"\"params_shard_0.bin\"", "\"../x.bin\"", "not a plain file name"},
      {"\"params_shard_0.bin\"", "\"a/b\"", "not a plain file name"},
      {"\"params_shard_0.bin\"", "7", "dataPath"},
      {"\"byteOffset\": 6", "\"byteOffset\": 5", "overlap"},
      {"\"byteOffset\": 6", "\"byteOffset\": 7", "lie outside"},
      {"\"byteOffset\": 6", "\"byteOffset\": -1", "lie outside"},
      {"\"byteOffset\": 6", "\"byteOffset\": 18446744073709551615", "byteOffset"},
      {"\"nbytes\": 14", "\"nbytes\": 28", "expected 14"},
      {"\"name\": \"b\"", "\"name\": \"a\"", "listed twice"},
      {"\"dtype\": \"float32\"", "\"dtype\": \"float31\"", "unknown dtype"},
      {"\"format\": \"raw-shard\"", "\"format\": \"zip\"", "raw-shard"},
      {"\"format\": \"f32-to-bf16\"", "\"format\": \"bf16\"", "unknown format"},
      {"                        7\n", "                        -7\n", "integers of 0 or more"},
      {"                        7\n", "                        7.5\n", "integers of 0 or more"},
      {"\"md5sum\": \"aaaa", "\"md5sum\": \"aa", "md5sum"},
      {"\"records\"", "\"recordz\"", "records"},
  };
  for (const Case& c : cases) {
    std::string bad = good;
    size_t at = bad.find(c.from);
    ASSERT_NE(at, std::string::npos) << c.from;
    bad.replace(at, std::string(c.from).size(), c.to);
    auto result = parse_shard_index(bad, "the index");
    ASSERT_FALSE(result.is_ok()) << c.to;
    EXPECT_NE(result.status().message().find(c.expected), std::string::npos) << result.status().message();
    EXPECT_EQ(result.status().message().find("the index"), 0u) << result.status().message();
  }
}

TEST(Shards, OpensEitherNameAndChecksSizes) {
  testing::TempFolder temp;
  const std::string& folder = temp.path();
  EXPECT_FALSE(Shards::open(folder).is_ok());
  std::string bytes = "0123456789abcdefghij";
  ASSERT_TRUE(write_file(path_join(folder, "params_shard_0.bin"), bytes).is_ok());
  ASSERT_TRUE(write_shard_index(folder, small_index()).is_ok());
  for (const char* name :
       {"tensor-cache.json", "ndarray-cache.json", "tensor-cache-b16.json", "ndarray-cache-b16.json"})
    EXPECT_TRUE(file_exists(path_join(folder, name))) << name;
  std::filesystem::remove(path_join(folder, "tensor-cache.json"));
  auto shards = Shards::open(folder);
  ASSERT_TRUE(shards.is_ok()) << shards.status().message();
  const TensorRecord* b = (*shards)->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ((*shards)->find("c"), nullptr);
  std::span<const std::byte> found = (*shards)->bytes(*b);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(found.data()), found.size()), bytes.substr(6));
  ASSERT_TRUE(write_file(path_join(folder, "params_shard_0.bin"), bytes + "x").is_ok());
  auto longer = Shards::open(folder);
  ASSERT_FALSE(longer.is_ok());
  EXPECT_NE(longer.status().message().find("has 21 bytes, the index says 20"), std::string::npos);
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// As in WebAssembly, where a mapping would be a copy.
TEST(Shards, ReadsRangesWhereFilesAreNotMapped) {
  testing::TempFolder temp;
  const std::string& folder = temp.path();
  const std::string shard = path_join(folder, "params_shard_0.bin"), bytes = "0123456789abcdefghij";
  ASSERT_TRUE(write_file(shard, bytes).is_ok());
  ASSERT_TRUE(write_shard_index(folder, small_index()).is_ok());
  for (bool map : {true, false}) {
    auto shards = Shards::open(folder, map);
    ASSERT_TRUE(shards.is_ok()) << shards.status().message();
    std::vector<std::byte> storage;
    for (const char* name : {"a", "b", "a"}) {
      const TensorRecord& tensor = *(*shards)->find(name);
      auto read = (*shards)->read(tensor, storage);
      ASSERT_TRUE(read.is_ok()) << read.status().message();
      EXPECT_EQ(text_of(*read), name[0] == 'a' ? bytes.substr(0, 6) : bytes.substr(6));
      EXPECT_EQ(storage.size(), map ? 0u : read->size());  // never more than the tensor
      (*shards)->release(tensor);
    }
  }
  auto shards = Shards::open(folder, /*map=*/false);
  std::filesystem::resize_file(shard, 8);
  std::vector<std::byte> storage;
  EXPECT_TRUE((*shards)->read(*(*shards)->find("a"), storage).is_ok());
  auto cut = (*shards)->read(*(*shards)->find("b"), storage);
  ASSERT_FALSE(cut.is_ok());
  EXPECT_NE(cut.status().message().find("params_shard_0.bin: cannot read tensor b"), std::string::npos)
      << cut.status().message();
  auto shorter = Shards::open(folder, /*map=*/false);
  ASSERT_FALSE(shorter.is_ok());
  EXPECT_NE(shorter.status().message().find("has 8 bytes, the index says 20"), std::string::npos);
}

}  // namespace
}  // namespace mlc
