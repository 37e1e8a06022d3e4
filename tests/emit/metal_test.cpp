// MSL of every construct of device functions: stored text. What it computes is
// tests/devices/metal_test.cpp's.
//
// tests/emit/metal/<case>.metal holds the text of each case of device_cases.h; MLC_BLESS=1 writes what was
// got.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "emit/stored_texts.h"
#include "kernel/verify.h"
#include "lang/metal/dialect.h"

namespace mlc::lang {
namespace {

const testing::StoredTexts kTexts = {"metal", ".metal"};

class MetalConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(MetalConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  std::string got = print_metal(f);
  const size_t kernel = got.find("[[max_total");
  ASSERT_NE(kernel, std::string::npos);
  got = got.substr(kernel);  // every text begins with the same helpers
  kTexts.expect(GetParam().name, got);
}

INSTANTIATE_TEST_SUITE_P(Emit, MetalConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Metal, EveryStoredTextHasItsCase) { kTexts.expect_no_others(); }

// No text has a cast of a pointer: a buffer is one array of its elements.
TEST(Metal, NothingCastsAPointer) {
  for (const DeviceCase& c : device_cases()) {
    const std::string text = print_metal(device_function(c));
    EXPECT_EQ(text.find("*)"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace mlc::lang
