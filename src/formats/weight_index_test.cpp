// Index JSON: order, grouping by file, and what is refused.
#include "formats/weight_index.h"

#include <gtest/gtest.h>

namespace mlc {
namespace {

TEST(WeightIndex, GroupsByFileInOrderOfAppearance) {
  auto index = parse_weight_index(
      R"({"metadata":{"total_size":[1,{"weight_map":2}]},"weight_map":{"z":"2.bin","a":"1.bin","b":"2.bin","c":"1.bin"}})",
      "i.json");
  ASSERT_TRUE(index.is_ok()) << index.status().message();
  EXPECT_EQ(index->files, (std::vector<std::string>{"2.bin", "1.bin"}));
  EXPECT_EQ(index->tensors,
            (std::vector<std::pair<std::string, int>>{{"z", 0}, {"b", 0}, {"a", 1}, {"c", 1}}));
}

TEST(WeightIndex, RefusesWhatItCannotTrust) {
  struct Case {
    const char *text, *expected;
  };
  for (const Case& c : {
           Case{R"({"weight_map":{"a":"../b.bin"}})", "expected the plain name of a file"},
           Case{R"({"weight_map":{"a":"/etc/passwd"}})", "expected the plain name of a file"},
           Case{R"({"weight_map":{"a":"d\\b.bin"}})", "expected the plain name of a file"},
           Case{"{\"weight_map\":{\"a\":\"b\\u0000.bin\"}}", "expected the plain name of a file"},
           Case{R"({"weight_map":{"a":".."}})", "expected the plain name of a file"},
           Case{R"({"weight_map":{"a":""}})", "expected the plain name of a file"},
           Case{R"({"weight_map":{"a":1}})", "maps to a number"},
           Case{R"({"weight_map":{"a":{}}})", "maps to an object"},
           Case{R"({"weight_map":{"a":"b"},"weight_map":{}})", "no tensors in 'weight_map'"},
           Case{R"({"weight_map":["a"]})", "'weight_map' is an array"},
           Case{R"({"weight_map":null})", "'weight_map' is null"},
           Case{R"({"weight_map":{}})", "no tensors in 'weight_map'"},
           Case{R"({})", "no tensors in 'weight_map'"},
           Case{R"([])", "holds an array"},
           Case{R"({"weight_map":{"a":"b")", "not valid JSON"},
           Case{"", "not valid JSON"},
       }) {
    auto index = parse_weight_index(c.text, "i.json");
    ASSERT_FALSE(index.is_ok()) << c.text;
    EXPECT_TRUE(index.status().message().starts_with("i.json: ")) << index.status().message();
    EXPECT_NE(index.status().message().find(c.expected), std::string::npos) << index.status().message();
  }
}

TEST(WeightIndex, OfWhatStandsTwiceTheLastCounts) {
  auto index = parse_weight_index(
      R"({"metadata":{"total_size":NaN,"more":[1e999]},"weight_map":{"x":"y"},"weight_map":{"a":"f","b":"f","a":"g"}})",
      "i.json");
  ASSERT_TRUE(index.is_ok()) << index.status().message();
  EXPECT_EQ(index->files, (std::vector<std::string>{"f", "g"}));
  EXPECT_EQ(index->tensors, (std::vector<std::pair<std::string, int>>{{"b", 0}, {"a", 1}}));
}

TEST(WeightIndex, DepthCostsNoStack) {
  std::string deep = R"({"metadata":)" + std::string(1'000'000, '[');
  EXPECT_FALSE(parse_weight_index(deep, "i.json").is_ok());
}

}  // namespace
}  // namespace mlc
