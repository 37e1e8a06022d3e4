// OpenCL C of every construct of device functions: stored text, and the rules of the shared C printer.
//
// tests/emit/opencl/<case>.cl holds the text of each case of device_cases.h; MLC_BLESS=1 writes what was got.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "emit/stored_texts.h"
#include "kernel/builder.h"
#include "kernel/verify.h"
#include "lang/opencl/dialect.h"

namespace mlc::lang {
namespace {

const testing::StoredTexts kTexts = {"opencl", ".cl"};

class OpenClConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(OpenClConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  std::string got = print_opencl(f);
  size_t kernel = got.find("__kernel");
  ASSERT_NE(kernel, std::string::npos);
  got = got.substr(kernel);  // every text begins with the same helpers
  kTexts.expect(GetParam().name, got);
}

INSTANTIATE_TEST_SUITE_P(Emit, OpenClConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(OpenCl, EveryStoredTextHasItsCase) { kTexts.expect_no_others(); }

std::string text_of(const std::string& body) {
  return print_opencl(device_function({.name = "k", .body = body}));
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A load that two operators use is made once, before the statement.
TEST(CPrinter, ValuesUsedTwiceAreComputedOnce) {
  kernel::KernelBuilder k("k");
  kernel::BufferRef x = k.input("x", DType::kF32, 64), y = k.output("y", DType::kF32, 64);
  k.groups(2, 32, 0, [&](kernel::ExprRef group, kernel::ExprRef thread) {
    kernel::ExprRef at = group * 32 + thread, v = k.load(x, at) * 2.0;
    k.store(y, at, v * v + v);
  });
  std::string text = print_opencl(kernel::narrow_indices(k.finish()));
  size_t first = text.find("x_[");
  EXPECT_EQ(text.find("x_[", first + 1), std::string::npos) << text;
  EXPECT_TRUE(contains(text, "const float t")) << text;
}

// Signed overflow has no meaning in C, and bits of floats overflow.
TEST(CPrinter, ArithmeticOnBitsWraps) {
  std::string text = text_of("let %b = bitcast(%x[%i]):i32 %m[%i] = ((%b - 1060439283:i32) * 3:i32)");
  EXPECT_TRUE(contains(text, "(as_uint(b_) - as_uint(1060439283))")) << text;
  EXPECT_TRUE(contains(text_of("%m[%i] = (%n[%i] - 5:i32)"), "(n_[i_] - 5)")) << "plain integers stay plain";
}

TEST(CPrinter, ConstantsReadBackExactly) {
  std::string text =
      text_of("%y[%i] = (((0.1:f32 + -3:f32) + 1e30:f32) + (inf:f32 * nan:f32)) %m[%i] = -2147483648:i32");
  for (const char* part :
       {"0.100000001f", "(-3.0f)", "1.00000002e+30f", "INFINITY", "NAN", "(-2147483647 - 1)"})
    EXPECT_TRUE(contains(text, part)) << part << "\n" << text;
}

// Buffers of a kernel that works in place may be one: the compiler must not assume otherwise.
TEST(OpenCl, OnlyBuffersThatCannotOverlapAreRestrict) {
  DeviceCase c{.name = "k", .body = "%y[%i] = %x[%i]"};
  kernel::Function f = device_function(c);
  EXPECT_TRUE(contains(print_opencl(f), "const float* restrict x_"));
  f.in_place = true;
  std::string text = print_opencl(f);
  EXPECT_FALSE(contains(text, "restrict x_")) << text;
  EXPECT_FALSE(contains(text, "restrict y_")) << text;
  EXPECT_TRUE(contains(text, "restrict n_")) << text;
}

}  // namespace
}  // namespace mlc::lang
