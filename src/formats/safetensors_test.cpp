// safetensors headers: a sound one, and every way a header can lie.
#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include "formats/build_files.h"

namespace mlc {
namespace {

using testing::bytes_of;
using testing::safetensors;

std::string problem(const std::string& file) {
  auto result = parse_safetensors(bytes_of(file), "m.safetensors");
  return result.is_ok() ? "" : result.status().message();
}

TEST(Safetensors, ReadsEntriesByOffset) {
  std::string file = safetensors(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"none":{"dtype":"U8","shape":[0,9],"data_offsets":[16,16]}}   )",
      std::string(16, 'x'));
  auto header = parse_safetensors(bytes_of(file), "m.safetensors");
  ASSERT_TRUE(header.is_ok()) << header.status().message();
  ASSERT_EQ(header->entries.size(), 3u);
  EXPECT_EQ(header->entries[0].name, "a");
  EXPECT_TRUE(header->entries[0].shape.empty());
  EXPECT_EQ(header->entries[1].name, "b");
  EXPECT_EQ(header->entries[1].dtype, DType::kF16);
  EXPECT_EQ(header->entries[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->entries[1].offset, file.size() - 12);
  EXPECT_EQ(header->entries[1].size, 12u);
  EXPECT_EQ(header->entries[2].size, 0u);
  EXPECT_EQ(header->metadata, (std::vector<std::pair<std::string, std::string>>{{"format", "pt"}}));
}

struct Bad {
  const char* name;
  std::string header;
  size_t data;
  const char* expected;  // a part of the message
};

class BadSafetensors : public ::testing::TestWithParam<Bad> {};

TEST_P(BadSafetensors, IsRefusedInOneSentence) {
  std::string message = problem(safetensors(GetParam().header, std::string(GetParam().data, 'x')));
  EXPECT_TRUE(message.starts_with("m.safetensors: ")) << message;
  EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return R"({"w":{"dtype":")" + std::string(dtype) + R"(","shape":)" + std::string(shape) +
         R"(,"data_offsets":)" + std::string(offsets) + "}}";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadSafetensors,
    ::testing::Values(
        Bad{"unread_reversed", one("F4", "[2]", "[1,0]"), 1, "data_offsets [1, 0]"},
        Bad{"unread_past_end", one("F4", "[4]", "[0,2]"), 1, "it is truncated"},
        Bad{"size", one("F32", "[2]", "[0,4]"), 4, "expected 8 bytes between them"},
        Bad{"reversed", one("F32", "[2]", "[8,0]"), 8, "data_offsets [8, 0]"},
        Bad{"past_end", one("F32", "[2]", "[0,8]"), 4, "but the file holds 4; it is truncated"},
        Bad{"left_over", one("F32", "[2]", "[0,8]"), 9, "1 bytes follow the last tensor"},
        Bad{"gap", one("F32", "[2]", "[4,12]"), 12, "expected 0, where the tensor before it ends (gap)"},
        Bad{"overlap",
            R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
            6, "(overlap)"},
        Bad{"twice",
            R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
            8, "'a' stands twice"},
        Bad{"product", one("F32", "[4294967296,4294967296]", "[0,0]"), 0,
            "impossible shape [4294967296, 4294967296]"},
        Bad{"product_times_size", one("F64", "[2305843009213693952]", "[0,0]"), 0, "impossible shape"},
        Bad{"huge_offset", one("U8", "[0]", "[18446744073709551615,18446744073709551615]"), 0,
            "holds the number"},
        Bad{"negative", one("U8", "[-1]", "[0,1]"), 1, "holds the number -1"},
        Bad{"fraction", one("U8", "[1.5]", "[0,1]"), 1, "holds the number 1.5"},
        Bad{"rank", one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "more than 16 dimensions"},
        Bad{"three_offsets", one("U8", "[1]", "[0,1,2]"), 1, "more than two data_offsets"},
        Bad{"one_offset", one("U8", "[1]", "[0]"), 1, "lacks dtype, shape or data_offsets"},
        Bad{"missing", R"({"w":{"dtype":"U8","shape":[1]}})", 1, "lacks dtype, shape or data_offsets"},
        Bad{"repeated", R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
            "has the key 'dtype' twice"},
        Bad{"nested", one("U8", "[[1]]", "[0,1]"), 1, "holds an array"},
        Bad{"array", "[1,2]", 0, "the header is an array"},
        Bad{"number_entry", R"({"w":3})", 0, "header key 'w' holds the number 3"},
        Bad{"json", R"({"w":)", 0, "not valid JSON"},
        Bad{"deep", std::string(100'000, '['), 0, "the header is an array"}),
    [](const auto& info) { return info.param.name; });

// F4 is half a byte an element; C64, F8_E8M0 and what comes later are read past in the same way.
TEST(Safetensors, UnknownDTypesAreBytesWithAReason) {
  std::string header =
      R"({"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"C64","shape":[1],"data_offsets":[3,11]},)"
      R"("w":{"dtype":"F32","shape":[1],"data_offsets":[11,15]}})";
  std::string file = safetensors(header, std::string(15, 'x'));
  auto parsed = parse_safetensors(bytes_of(file), "m.safetensors");
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().message();
  const auto& entries = parsed->entries;
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_TRUE(entries[0].unread.starts_with("has dtype 'F4'; expected one of BOOL")) << entries[0].unread;
  EXPECT_EQ(entries[0].type, "F4");
  EXPECT_EQ(entries[0].dtype, DType::kU8);
  EXPECT_EQ(entries[1].shape, std::vector<int64_t>{8});
  EXPECT_EQ(entries[2].unread, "");
  EXPECT_EQ(entries[2].offset, file.size() - 4);
}

TEST(Safetensors, WhatNobodyReadsMayHaveAnyForm) {
  const char* w = R"("w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  for (const char* metadata :
       {"null", "3", "-3", "0.5", "true", "\"text\"", "[]", "[[1,{\"dtype\":2}],NaN]",
        "{\"a\":1,\"b\":{\"c\":[{}]},\"d\":\"e\"}", "{},\"__metadata__\":{\"format\":\"pt\"}"}) {
    auto parsed = parse_safetensors(
        bytes_of(safetensors(std::string("{\"__metadata__\":") + metadata + "," + w + "}", "x")), "m");
    ASSERT_TRUE(parsed.is_ok()) << metadata << ": " << parsed.status().message();
    EXPECT_EQ(parsed->entries.size(), 1u) << metadata;
  }
  for (const char* extra :
       {"1", "null", "{\"dtype\":\"F4\",\"shape\":[[9]]}", "[[1],{}]", "\"U8\"", "Infinity"}) {
    std::string header = std::string("{\"w\":{\"kind\":") + extra + R"(,"dtype":"U8","shape":[1],"more":)" +
                         extra + R"(,"data_offsets":[0,1]}})";
    auto parsed = parse_safetensors(bytes_of(safetensors(header, "x")), "m");
    ASSERT_TRUE(parsed.is_ok()) << extra << ": " << parsed.status().message();
    EXPECT_EQ(parsed->entries[0].size, 1u);
  }
}

TEST(Safetensors, RefusesLyingHeaderLengths) {
  EXPECT_NE(problem("").find("0 bytes long"), std::string::npos);
  EXPECT_NE(problem(testing::Bytes().put<uint64_t>(100).raw("{}").data).find("truncated"), std::string::npos);
  EXPECT_NE(
      problem(testing::Bytes().put<uint64_t>(100'000'001).raw("{}").data).find("expected at most 100000000"),
      std::string::npos);
  EXPECT_NE(problem(testing::Bytes().put<uint64_t>(~0ull).raw("{}").data).find("expected at most"),
            std::string::npos);
}

TEST(Safetensors, NamesInMessagesAreHarmless) {
  std::string message =
      problem(safetensors("{\"\\u001b[2J\\n\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,0]}}", ""));
  EXPECT_NE(message.find("'\\x1b[2J\\x0a'"), std::string::npos) << message;
}

}  // namespace
}  // namespace mlc
