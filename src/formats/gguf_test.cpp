// GGUF: block values against the Python package, metadata of every type, and files that lie.
#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "formats/build_files.h"

namespace mlc {
namespace {

using testing::bytes_of;
using testing::GgufFile;

std::string problem(const std::string& file) {
  auto result = parse_gguf(bytes_of(file), "m.gguf");
  return result.is_ok() ? "" : result.status().message();
}

TEST(Gguf, EveryBlockTypeEqualsThePythonPackage) {
  auto file = read_file(MLC_SOURCE_DIR "/tests/data/formats/gguf_quants.gguf");
  ASSERT_TRUE(file.is_ok());
  auto gguf = parse_gguf(bytes_of(*file), "gguf_quants.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  int compared = 0;
  for (const GgufTensor& tensor : gguf->tensors) {
    for (const GgufTensor& expected : gguf->tensors) {
      if (expected.name != std::string(tensor.name) + ".expected") continue;
      ASSERT_EQ(gguf_type_info(tensor.type).name, tensor.name);
      ASSERT_EQ(expected.shape, tensor.shape);
      std::vector<float> values(static_cast<size_t>(tensor.shape[0] * tensor.shape[1]));
      dequantize_gguf(tensor.type, bytes_of(*file).subspan(tensor.offset, tensor.size), values);
      auto want = testing::unpacked<float>(bytes_of(*file).subspan(expected.offset, expected.size));
      for (size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(values[i], want[i]) << tensor.name << " element " << i;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 15);  // 13 block types, F16, BF16
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  GgufFile f;
  f.number<uint8_t>("u8", 0, 200)
      .number<int8_t>("i8", 1, -3)
      .number<uint16_t>("u16", 2, 60000)
      .number<int16_t>("i16", 3, -300);
  f.number<uint32_t>("u32", 4, 4000000000u)
      .number<int32_t>("i32", 5, -70000)
      .real("f32", 0.5f)
      .number<uint8_t>("bool", 7, 1);
  f.text("text", "hello")
      .number<uint64_t>("u64", 10, 1ull << 40)
      .number<int64_t>("i64", 11, -(1ll << 40))
      .number<double>("f64", 12, 0.1);
  f.array<int16_t>("numbers", 3, {-1, 2}).texts("texts", {"a", "", "ccc"});
  std::string file = f.build();
  auto gguf = parse_gguf(bytes_of(file), "m.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  struct {
    const char* key;
    int64_t value;
  } const integers[] = {{"u8", 200},   {"i8", -3},          {"u16", 60000},
                        {"i16", -300}, {"u32", 4000000000}, {"i32", -70000},
                        {"bool", 1},   {"u64", 1ll << 40},  {"i64", -(1ll << 40)}};
  for (const auto& [key, value] : integers) {
    EXPECT_TRUE(gguf->find(key)->is_integer()) << key;
    EXPECT_EQ(gguf->find(key)->integer, value) << key;
  }
  EXPECT_EQ(gguf->find("f32")->number, 0.5);
  EXPECT_EQ(gguf->find("f64")->number, 0.1);
  EXPECT_EQ(gguf->find_text("text"), "hello");
  EXPECT_EQ(gguf->find("numbers")->element(0), -1);
  EXPECT_EQ(gguf->find("numbers")->element(1), 2);
  EXPECT_EQ(gguf->find("texts")->texts, (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(gguf->find("absent"), nullptr);
}

TEST(Gguf, ReadsVersion2AndOtherAlignments) {
  GgufFile f{.version = 2, .alignment = 64};
  f.count("general.alignment", 64)
      .tensor("a", {3}, 0, std::string(12, 'x'))
      .tensor("b", {2, 5}, 1, std::string(20, 'y'));
  std::string file = f.build();
  auto gguf = parse_gguf(bytes_of(file), "m.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  EXPECT_EQ(gguf->tensors[1].shape, (std::vector<int64_t>{5, 2}));
  EXPECT_EQ(gguf->tensors[1].offset % 64, 0u);
  EXPECT_EQ(file.substr(gguf->tensors[1].offset, gguf->tensors[1].size), std::string(20, 'y'));
}

TEST(Gguf, EmptyTensorsLieInsideAFileWithoutPadding) {
  GgufFile f;
  f.info("a", {0}, 0, 0);
  std::string file = f.build();
  file.resize(24 + 8 + 1 + 4 + 8 + 4 + 8);  // ends with the tensor table
  auto gguf = parse_gguf(bytes_of(file), "m.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  EXPECT_LE(gguf->tensors[0].offset, file.size());
}

TEST(Gguf, WhatNobodyReadsMayBeAnything) {
  GgufFile f;
  f.number<uint8_t>("bool", 7, 2)
      .number<uint64_t>("u64", 10, ~0ull)
      .count("twice", 1)
      .count("twice", 2)
      .count("caf\xe9", 1)
      .count("", 3);
  f.count(std::string(70'000, 'k'), 4);
  ++f.pair_count;  // [[1, 2], ["a"], []]
  f.pairs.text64("nested").put<uint32_t>(9).put<uint32_t>(9).put<uint64_t>(3);
  f.pairs.put<uint32_t>(4).put<uint64_t>(2).put<uint32_t>(1).put<uint32_t>(2);
  f.pairs.put<uint32_t>(8).put<uint64_t>(1).text64("a");
  f.pairs.put<uint32_t>(4).put<uint64_t>(0);
  f.count("last", 7);
  std::string file = f.build();
  auto gguf = parse_gguf(bytes_of(file), "m.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  EXPECT_EQ(gguf->find("last")->integer, 7);
  EXPECT_EQ(gguf->find("twice")->integer, 1);
  EXPECT_EQ(gguf->notes,
            std::vector<std::string>{"metadata key 'twice' stands twice; its first value counts"});
  EXPECT_EQ(gguf->find("u64")->integer, INT64_MAX);
  EXPECT_EQ(gguf->find("nested")->count, 3u);
  EXPECT_TRUE(std::isnan(gguf->find("nested")->element(2)));
}

TEST(Gguf, TensorsOfUnknownTypesReachToTheNext) {
  GgufFile f;
  f.tensor("a", {32}, 99, std::string(40, 'a'))
      .tensor("b", {2}, 0, std::string(8, 'b'))
      .tensor("c", {256}, 17, std::string(70, 'c'));
  f.tensor("r5", {1, 1, 1, 1, 2}, 0, std::string(8, 'r'));
  std::string file = f.build();
  auto gguf = parse_gguf(bytes_of(file), "m.gguf");
  ASSERT_TRUE(gguf.is_ok()) << gguf.status().message();
  EXPECT_TRUE(gguf->tensors[0].unread.starts_with("has type type 99; expected one of F32"))
      << gguf->tensors[0].unread;
  EXPECT_EQ(gguf->tensors[0].shape, std::vector<int64_t>{64}) << "bytes, with the padding";
  EXPECT_EQ(file.substr(gguf->tensors[1].offset, gguf->tensors[1].size), std::string(8, 'b'));
  EXPECT_EQ(gguf->tensors[1].unread, "");
  EXPECT_EQ(gguf->tensors[2].stored_type, "IQ2_XS");
  EXPECT_EQ(gguf->tensors[3].shape.size(), 5u);
}

struct Bad {
  const char* name;
  std::string file;
  const char* expected;
};
class BadGguf : public ::testing::TestWithParam<Bad> {};

TEST_P(BadGguf, IsRefusedInOneSentence) {
  std::string message = problem(GetParam().file);
  EXPECT_TRUE(message.starts_with("m.gguf: ")) << message;
  EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
}

std::string head(uint32_t version, uint64_t tensors, uint64_t pairs, std::string_view rest = "") {
  return testing::Bytes().raw("GGUF").put(version).put(tensors).put(pairs).raw(rest).data;
}
std::string one(const std::vector<uint64_t>& shape, uint32_t type, uint64_t offset, size_t data) {
  GgufFile f;
  f.info("w", shape, type, offset).body.raw(std::string(data, 'x'));
  return f.build();
}
std::string pair(uint32_t type, std::string_view value) {
  return head(3, 0, 1, testing::Bytes().text64("k").put(type).raw(value).data);
}
constexpr uint64_t kHuge = uint64_t{1} << 62;
// An array that holds an array, and so on, `depth` of them; the innermost is empty.
std::string nested_arrays(int depth) {
  testing::Bytes bytes;
  for (int i = 1; i < depth; ++i) bytes.put<uint32_t>(9).put<uint64_t>(1);
  return bytes.put<uint32_t>(4).put<uint64_t>(0).data;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadGguf,
    ::testing::Values(
        Bad{"magic", "GGML????????????????????", "does not start with \"GGUF\""},
        Bad{"empty", "", "does not start with \"GGUF\""},
        Bad{"version1", head(1, 0, 0), "GGUF version 1; expected 2 or 3"},
        Bad{"version9", head(9, 0, 0), "GGUF version 9"},
        Bad{"big_endian", head(0x03000000, 0, 0), "big-endian"},
        Bad{"short_head", "GGUF\3", "ends inside the header"},
        Bad{"tensor_count", head(3, kHuge, 0), "tensors in a file of 24 bytes"},
        Bad{"key_count", head(3, 0, kHuge), "metadata keys in a file of 24 bytes"},
        Bad{"key_length", head(3, 0, 1, testing::Bytes().put(kHuge).raw("xxxxxxxx").data),
            "is 4611686018427387904 bytes long, but 8 are left in the file"},
        Bad{"value_type", pair(13, "x"), "has value type 13"},
        Bad{"text_length", pair(8, testing::Bytes().put(kHuge).data),
            "holds a text of 4611686018427387904 bytes, but 0 are left"},
        Bad{"array_count", pair(9, testing::Bytes().put<uint32_t>(4).put(kHuge).data),
            "an array of 4611686018427387904 elements"},
        Bad{"text_array_count", pair(9, testing::Bytes().put<uint32_t>(8).put(kHuge).data),
            "an array of 4611686018427387904 elements"},
        Bad{"array_type", pair(9, testing::Bytes().put<uint32_t>(13).put<uint64_t>(0).data),
            "array of value type 13; expected 0 to 12"},
        Bad{"nested_count", pair(9, testing::Bytes().put<uint32_t>(9).put(kHuge).data),
            "an array of 4611686018427387904 elements"},
        Bad{"nested_deep", pair(9, nested_arrays(9)), "nests arrays deeper than 8"},
        Bad{"number_cut", pair(4, "x"), "ends inside metadata key 'k'"},
        Bad{"tensor_twice", GgufFile().tensor("a", {1}, 0, "xxxx").tensor("a", {1}, 0, "xxxx").build(),
            "tensor 'a' stands twice"},
        Bad{"alignment", GgufFile().count("general.alignment", 33).build(), "expected a power of two"},
        Bad{"alignment_zero", GgufFile().count("general.alignment", 0).build(), "expected a power of two"},
        Bad{"alignment_text", GgufFile().text("general.alignment", "32").build(), "not a number"},
        Bad{"type_past_end", one({32}, 99, 64, 32), "but the file holds 32"},
        Bad{"type_misaligned", one({32}, 99, 16, 64), "expected a multiple of the alignment 32"},
        Bad{"rank", one(std::vector<uint64_t>(17, 1), 0, 0, 4), "has 17 dimensions"},
        Bad{"negative", one({~0ull}, 0, 0, 4), "expected less than 2^63"},
        Bad{"product", one({kHuge, 4}, 0, 0, 4), "impossible shape"},
        Bad{"product_small_blocks", one({1ull << 32, 1ull << 30}, 2, 0, 4), "impossible shape"},
        Bad{"half_block", one({33}, 2, 0, 64), "rows of 33 elements; expected a multiple of 32"},
        Bad{"misaligned", one({1}, 0, 16, 64), "expected a multiple of the alignment 32"},
        Bad{"past_end", one({32}, 0, 0, 127), "but the file holds 127; it is truncated"},
        Bad{"offset_past_end", one({1}, 0, kHuge, 64), "but the file holds 64"},
        Bad{"overlap", GgufFile().info("a", {16}, 0, 0).info("b", {16}, 0, 32).build() + std::string(96, 'x'),
            "(overlap)"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mlc
