// SPIR-V of every construct of device functions: stored text, and spirv-val's word where it is installed.
//
// tests/emit/spirv/<case>.txt holds the disassembly of each case of device_cases.h; MLC_BLESS=1 writes what was got.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "emit/device_cases.h"
#include "kernel/verify.h"
#include "lang/spirv/emit.h"
#include "support/temp_folder.h"

namespace mlc::lang {
namespace {

std::string stored_path(const std::string& name) { return MLC_SOURCE_DIR "/tests/emit/spirv/" + name + ".txt"; }

class SpirvConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(SpirvConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  std::string got = spirv::disassemble(emit_spirv(f)), path = stored_path(f.name);
  if (env::bless()) {
    ASSERT_TRUE(write_file(path, got).is_ok());
  }
  auto expected = read_file(path);
  ASSERT_TRUE(expected.is_ok()) << expected.status().message() << "; MLC_BLESS=1 writes it";
  EXPECT_EQ(got, *expected) << path << "; MLC_BLESS=1 accepts the new text";
}

INSTANTIATE_TEST_SUITE_P(Emit, SpirvConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Spirv, EveryStoredTextHasItsCase) {
  for (const auto& entry : std::filesystem::directory_iterator(MLC_SOURCE_DIR "/tests/emit/spirv")) {
    std::string name = entry.path().stem().string();
    EXPECT_TRUE(std::any_of(device_cases().begin(), device_cases().end(), [&](const DeviceCase& c) { return c.name == name; }))
        << name;
  }
}

TEST(Spirv, IsValidForVulkan11) {
  ASSERT_EQ(std::system("spirv-val --version > /dev/null 2>&1"), 0) << "spirv-val is not installed; run scripts/install";
  testing::TempFolder folder;
  for (const DeviceCase& c : device_cases()) {
    std::string path = folder.file(c.name + ".spv");
    ASSERT_TRUE(write_file(path, emit_spirv(device_function(c))).is_ok());
    EXPECT_EQ(std::system(("spirv-val --target-env vulkan1.1 " + path).c_str()), 0) << c.name;
  }
}

TEST(Spirv, EqualKernelsGiveEqualBytes) {
  for (const DeviceCase& c : device_cases()) EXPECT_EQ(emit_spirv(device_function(c)), emit_spirv(device_function(c))) << c.name;
}

// Each addition and multiplication of floats, and nothing else, is kept from contraction.
TEST(Spirv, KeepsProductsAndSumsApart) {
  std::string text = spirv::disassemble(emit_spirv(device_function(device_cases()[0])));
  size_t decorated = 0, arithmetic = 0;
  for (const std::string& line : split(text, '\n')) {
    decorated += line.rfind("Decorate", 0) == 0 && line.ends_with(" 42");
    for (const char* op : {" = FAdd ", " = FSub ", " = FMul "}) arithmetic += line.find(op) != std::string::npos;
  }
  EXPECT_EQ(arithmetic, 4u);
  EXPECT_EQ(decorated, arithmetic);
}

TEST(Spirv, DotsOfBytesNeedTheirExtension) {
  kernel::Function f = kernel::narrow_indices(kernel::parse(
      "kernel @dot(%a: u32[32], %b: u32[32], %y: out i32[32]) dims() tiles(1) scratch(0) { grid %g = 0, 1 { thread %t = 0, 32 { "
      "%y[%t] = dot4(bitcast(%a[%t]):u8x4, bitcast(%b[%t]):i8x4, 7:i32) } } }"));
  std::string text = spirv::disassemble(emit_spirv(f));
  EXPECT_NE(text.find("Extension \"SPV_KHR_integer_dot_product\""), std::string::npos) << text;
  EXPECT_NE(text.find(" = SUDotKHR "), std::string::npos) << text;
}

TEST(SpirvDeathTest, OtherFunctionsAreOurError) {
  kernel::Function f = kernel::parse(
      "kernel @cpu(%y: out f32[8]) dims() tiles(1) scratch(0) { grid %g = 0, 1 { %y[0] = 1:f32x8 } }");
  EXPECT_DEATH(emit_spirv(f), "kernel cpu: ");
}

}  // namespace
}  // namespace mlc::lang
