// WGSL of every construct of device functions: stored text. What Dawn says of it and what it computes is
// tests/webgpu/'s.
//
// tests/emit/wgsl/<case>.wgsl holds the text of each case of device_cases.h; MLC_BLESS=1 writes what was got.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/user_error.h"
#include "emit/stored_texts.h"
#include "kernel/verify.h"
#include "lang/wgsl/dialect.h"

namespace mlc::lang {
namespace {

const testing::StoredTexts kTexts = {"wgsl", ".wgsl"};

class WgslConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(WgslConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  kTexts.expect(GetParam().name, print_wgsl(f));
}

INSTANTIATE_TEST_SUITE_P(Emit, WgslConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Wgsl, EveryStoredTextHasItsCase) { kTexts.expect_no_others(); }

// A kernel of `count` inputs and one output.
kernel::Function of_buffers(int count) {
  std::string buffers, sum = "0:f32";
  for (int i = 0; i < count; ++i) {
    buffers += str("%x", i, ": f32[4], ");
    sum = str("(", sum, " + %x", i, "[%t])");
  }
  return kernel::narrow_indices(
      kernel::parse(str("kernel @many(", buffers, "%y: out f32[4]) dims() tiles(1) scratch(0) ",
                        "{ grid %g = 0, 1 { thread %t = 0, 4 { %y[%t] = ", sum, " } } }")));
}

TEST(Wgsl, MoreBuffersThanDevicesGrantAreRefused) {
  EXPECT_NE(print_wgsl(of_buffers(7)).find("@binding(7)"), std::string::npos);
  try {
    print_wgsl(of_buffers(8));
    FAIL() << "nine buffers";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("kernel many binds 9 buffers, WebGPU grants 8"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace mlc::lang
