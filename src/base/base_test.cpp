// Tests of the words every room uses: half floats, strings, JSON accessors, atomic files.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/number.h"
#include "base/strings.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

TEST(Number, IsTheWholeText) {
  double value = 7;
  for (const char* bad : {"", " 1", "1 ", "+1", "0x10", "1e", "1.5.2", "one", "1e999", "-"}) {
    EXPECT_FALSE(read_double(bad, value)) << bad;
    EXPECT_EQ(value, 7) << bad;
  }
  EXPECT_TRUE(read_double("-1.5e-3", value));
  EXPECT_EQ(value, -1.5e-3);
  EXPECT_TRUE(read_double(".5", value));
  EXPECT_EQ(value, 0.5);
  EXPECT_TRUE(read_double("1e-05", value));
  EXPECT_EQ(value, 1e-05);
  EXPECT_TRUE(read_double("nan", value));
  EXPECT_TRUE(std::isnan(value));
}

TEST(Half, EveryHalfSurvivesARoundTrip) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    float f = f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) continue;
    EXPECT_EQ(f32_to_f16(f), h);
  }
}

TEST(Half, RoundsTiesToEven) {
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), f32_to_f16(1.0f));          // tie down to even
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), f32_to_f16(1.0f) + 2);  // tie up to even
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 1);
}

TEST(BFloat16, RoundsTiesToEvenAndTruncatesTheHuge) {
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3F82);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::infinity()), 0x7F80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F7F);
}

TEST(DTypeNames, BothSpellingsParse) {
  for (DType t : {DType::kBool, DType::kI8, DType::kU32, DType::kF16, DType::kBF16, DType::kF8E5M2}) {
    EXPECT_EQ(parse_dtype(long_name(t)), t);
    EXPECT_EQ(parse_dtype(short_name(t)), t);
  }
  EXPECT_FALSE(parse_dtype("float17"));
}

TEST(Status, AMessageIsOnePrintableLine) {
  EXPECT_EQ(Status::error(std::string("a\nb\x7f\x1b[2J\0", 8)).message(), "a\\x0ab\\x7f\\x1b[2J");
  EXPECT_EQ(Status::error("caf\u00e9").message(), "caf\u00e9");
  EXPECT_EQ(Status::error("caf\xe9 \xf0\x9f").message(),
            "caf\\xe9 \\xf0\\x9f");  // Latin-1, and a character cut in two
  EXPECT_EQ(Status::error("\u009b2J \u00a0\U0001F642").message(), "\\xc2\\x9b2J \u00a0\U0001F642");
}

TEST(Strings, NearestNameIsTheOneMeant) {
  EXPECT_EQ(nearest_name("q4f16_l", {"q0f16", "q4f16_1", "q4f32_1"}), "q4f16_1");
  EXPECT_EQ(nearest_name("xyzxyzxyz", {"llama", "gpt_neox"}), "");
}

TEST(Strings, Utf8) {
  EXPECT_TRUE(is_valid_utf8("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_valid_utf8("\xC3"));
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));      // surrogate
  EXPECT_FALSE(is_valid_utf8("\xC0\xAF"));          // overlong
  EXPECT_FALSE(is_valid_utf8("\xF4\x90\x80\x80"));  // past U+10FFFF
}

TEST(JsonText, AnyBytesCanBeWritten) {
  EXPECT_EQ(json_text({{"caf\xe9", "\xf0\x9f"}}), "{\"caf\uFFFD\":\"\uFFFD\"}");
  EXPECT_EQ(json_text({"\u00e9", 1.5}, 1, true), "[\n \"\\u00e9\",\n 1.5\n]");
}

// As Python's json module writes them, whose files ours are compared with.
TEST(Json, DoublesHaveTheFewestDigitsThatReadBack) {
  const std::pair<double, const char*> cases[] = {{5.25789286981199, "5.25789286981199"},
                                                  {474304, "474304.0"},
                                                  {0, "0.0"},
                                                  {-0.0, "-0.0"},
                                                  {0.1, "0.1"},
                                                  {1e-5, "1e-05"},
                                                  {1.25e-5, "1.25e-05"},
                                                  {0.0001, "0.0001"},
                                                  {-0.012, "-0.012"},
                                                  {5e-324, "5e-324"},
                                                  {9007199254740993, "9007199254740992.0"},
                                                  {1e16, "1e+16"},
                                                  {-1.5e300, "-1.5e+300"},
                                                  {INFINITY, "null"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(json_text(value), text);
}

TEST(Json, IndentsAsPython) {
  const Json json = Json::parse(R"({"a": [1, {"b": []}], "c": {}, "d": "x"})");
  EXPECT_EQ(json_text(json), R"({"a":[1,{"b":[]}],"c":{},"d":"x"})");
  EXPECT_EQ(json_text(json, 2), json.dump(2));
}

TEST(JsonText, BadInputIsASentence) {
  EXPECT_EQ(parse_json("{\"a\": ", "x.json").status().message(),
            "x.json: not valid JSON; the file is damaged or truncated");
  EXPECT_FALSE(parse_json(std::string(100000, '['), "x.json").is_ok());
  Json json = parse_json(R"({"a": "b", "n": 3.0, "f": 0.5, "z": null})", "x.json").value();
  EXPECT_EQ(get_int(json, "a", "x.json").status().message(),
            "x.json: key 'a' has string \"b\", expected an integer");
  EXPECT_EQ(get_int(json, "q", "x.json").status().message(),
            "x.json: key 'q' has nothing, expected an integer");
  EXPECT_EQ(find_int(json, "n"), 3);
  EXPECT_FALSE(find_int(json, "f"));
  EXPECT_EQ(find(json, "z"), nullptr);
}

TEST(JsonText, ReadAsPythonReadsIt) {
  Json json = parse_json(
                  "\xEF\xBB\xBF{\"n\": NaN, \"i\": [Infinity, -Infinity, 1e999, -1e999], \"a\": 1, \"a\": 2, "
                  "\"big\": "
                  "123456789012345678901234567890, \"s\": \"NaN \\\" Infinity\", \"h\": "
                  "\"x\\ud800y\\ud83d\\ude00\\udc00\"}",
                  "x.json")
                  .value();
  EXPECT_TRUE(std::isnan(json["n"].get<double>()));
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(json["i"][i].get<double>(), (i % 2 ? -1 : 1) * std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["a"], 2);
  EXPECT_EQ(json["big"].get<double>(), 123456789012345678901234567890.0);
  EXPECT_EQ(json["s"], "NaN \" Infinity");
  EXPECT_EQ(json["h"], "x\xEF\xBF\xBDy\xF0\x9F\x98\x80\xEF\xBF\xBD");
  EXPECT_EQ(get_number(json, "n", "x.json").status().message(),
            "x.json: key 'n' has number NaN, expected a number");
  EXPECT_TRUE(std::isnan(parse_json("NaN", "x.json").value().get<double>()));
  EXPECT_EQ(standard_json("\xEF\xBB\xBF\xEF\xBB\xBF"
                          "6"),
            "6");
  EXPECT_EQ(standard_json(R"({"a": [1.5, true, null, "NaN", -2e-3]})"), std::nullopt);
}

TEST(JsonText, WhatIsNoJsonIsNamed) {
  const std::pair<std::string, const char*> cases[] = {{"", "x: empty, expected JSON"},
                                                       {" \n", "x: empty, expected JSON"},
                                                       {"PK\3\4", "x: not valid JSON but a zip archive"},
                                                       {"\xFF\xFE{", "x: UTF-16 text"},
                                                       {"{\"a\": \"\xC3\"}", "x: not valid JSON: not UTF-8"},
                                                       {"{\"a\": NaN", "x: not valid JSON"},
                                                       {"{\"a\": Nan}", "x: not valid JSON"},
                                                       {"{\"a\": 1,}", "x: not valid JSON"}};
  for (const auto& [text, message] : cases)
    EXPECT_TRUE(parse_json(text, "x").status().message().starts_with(message)) << message;
}

TEST(AtomicFiles, AppearOnlyWhenCommitted) {
  testing::TempFolder folder;
  std::string path = folder.file("atomic_file");
  {
    auto file = AtomicFile::create(path).value();
    ASSERT_TRUE(file->write(std::as_bytes(std::span("abc", 3))).is_ok());
  }
  EXPECT_FALSE(file_exists(path));
  ASSERT_TRUE(write_file(path, "hello").is_ok());
  EXPECT_EQ(read_file(path).value(), "hello");
  EXPECT_FALSE(read_file(path + "/no").is_ok());
}

}  // namespace
}  // namespace mlc
