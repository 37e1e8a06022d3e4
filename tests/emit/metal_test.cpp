// MSL of every construct of device functions: stored text. What it computes is
// tests/devices/metal_test.cpp's.
//
// tests/emit/metal/<case>.metal holds the text of each case of device_cases.h; MLC_BLESS=1 writes what was
// got.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "emit/device_cases.h"
#include "kernel/verify.h"
#include "lang/metal/dialect.h"

namespace mlc::lang {
namespace {

class MetalConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(MetalConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  std::string got = print_metal(f), path = str(MLC_SOURCE_DIR "/tests/emit/metal/", f.name, ".metal");
  const size_t kernel = got.find("[[max_total");
  ASSERT_NE(kernel, std::string::npos);
  got = got.substr(kernel);  // every text begins with the same helpers
  if (env::bless()) {
    ASSERT_TRUE(write_file(path, got).is_ok());
  }
  auto expected = read_file(path);
  ASSERT_TRUE(expected.is_ok()) << expected.status().message() << "; MLC_BLESS=1 writes it";
  EXPECT_EQ(got, *expected) << path << "; MLC_BLESS=1 accepts the new text";
}

INSTANTIATE_TEST_SUITE_P(Emit, MetalConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Metal, EveryStoredTextHasItsCase) {
  for (const auto& entry : std::filesystem::directory_iterator(MLC_SOURCE_DIR "/tests/emit/metal")) {
    const std::string name = entry.path().stem().string();
    EXPECT_TRUE(std::any_of(device_cases().begin(), device_cases().end(), [&](const DeviceCase& c) {
      return c.name == name;
    })) << name;
  }
}

// No text has a cast of a pointer: a buffer is one array of its elements.
TEST(Metal, NothingCastsAPointer) {
  for (const DeviceCase& c : device_cases()) {
    const std::string text = print_metal(device_function(c));
    EXPECT_EQ(text.find("*)"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace mlc::lang
