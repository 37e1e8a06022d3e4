// SPIR-V of every construct of device functions: stored text, and spirv-val's word where it is installed.
//
// tests/emit/spirv/<case>.txt holds the disassembly of each case of device_cases.h; MLC_BLESS=1 writes what
// was got.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/check.h"
#include "base/file.h"
#include "base/strings.h"
#include "emit/stored_texts.h"
#include "graph/builder.h"
#include "kernel/lower/lower.h"
#include "kernel/pipeline.h"
#include "kernel/verify.h"
#include "lang/spirv/emit.h"
#include "lang/spirv/opcodes.h"
#include "support/temp_folder.h"

namespace mlc::testing {
namespace {

// The prefill matmul of a class of device on its matrix unit, gated, with sizes that fill no tile.
kernel::Function matrix_matmul(const std::string& device) {
  const Target target = targets_for_device(device)->front();
  internal_check(target.matrix_unit.rows > 0, "a class with a matrix unit");
  graph::Module module;
  module.functions.push_back(std::make_unique<graph::Function>());
  graph::GraphBuilder g(module, *module.functions[0]);
  graph::Value* x =
      g.function().add_argument("x", graph::TensorType::plain(DType::kF32, {Dim::symbol("rows"), 96}));
  const WeightFormat q4{WeightFormat::Kind::kGroup, DType::kF16, 4, 32, false};
  g.matmul(x, g.parameter("w", {graph::TensorType::Kind::kGroup, q4, "lanes32", {140, 96}}));
  graph::Node& node = *g.function().nodes.back();
  then(node.region, [](graph::RegionBuilder& r) { return r.call("silu", r.gate()) * r.up(); });
  node.outputs[0]->type.shape[1] = 70;
  const kernel::LowerOptions options{.target = &target, .min_rows = 17, .input_views = {{}, {}}};
  return kernel::run_passes(kernel::lower_node(node, module, options).function,
                            {.target = &target, .dump = {}});
}

}  // namespace
}  // namespace mlc::testing

namespace mlc::lang {
namespace {

const testing::StoredTexts kTexts = {"spirv", ".txt"};

class SpirvConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(SpirvConstructs, BecomeTheStoredText) {
  kernel::Function f = device_function(GetParam());
  ASSERT_EQ(kernel::verify(f), "");
  kTexts.expect(GetParam().name, spirv::disassemble(emit_spirv(f)));
}

INSTANTIATE_TEST_SUITE_P(Emit, SpirvConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Spirv, EveryStoredTextHasItsCase) { kTexts.expect_no_others(); }

TEST(Spirv, IsValidForVulkan11) {
  ASSERT_EQ(std::system("spirv-val --version > /dev/null 2>&1"), 0)
      << "spirv-val is not installed; run scripts/install";
  testing::TempFolder folder;
  for (const DeviceCase& c : device_cases()) {
    std::string path = folder.file(c.name + ".spv");
    ASSERT_TRUE(write_file(path, emit_spirv(device_function(c))).is_ok());
    EXPECT_EQ(std::system(("spirv-val --target-env vulkan1.1 " + path).c_str()), 0) << c.name;
  }
}

// A kernel with every statement on matrices of a subgroup; devices that run it are rare, so text, validator
// and interpreter (tests/ops/gpu_matrix_test.cpp) stand for them.
kernel::Function matrix_function() {
  return kernel::unify_accesses(kernel::narrow_indices(kernel::parse(
      "kernel @matrix(%x: u32[512], %y: out f32[512]) dims() tiles(1) scratch(0) subgroups(32) { grid %g = "
      "0, 1 { "
      "shared %left: u32x4[40] shared %right: u32x2[80] shared %sums: f32[512] thread %t = 0, 64 { "
      "fragments %a: a f16 16 by 16[1] fragments %b: b f16 16 by 16[2] fragments %c: sum f32 16 by 16[2] "
      "if (%t < 40) { %left[%t] = %x[(%t * 4)]:u32x4 %right[%t] = %x[(%t * 2)]:u32x2 %right[(%t + 40)] = "
      "%x[(%t * 2)]:u32x2 } "
      "matrix clear %c[0] matrix clear %c[1] barrier "
      "serial %i = 0, 2 { matrix load %a[0] from %left[0] rows 2 matrix load %b[1] from %right[(%i * 2)] "
      "columns 4 "
      "matrix add %c[1] %a[0] by %b[1] } "
      "matrix store %c[1] to %sums[((%t // 32) * 256)] rows 16 barrier %y[%t] = %sums[%t] } } }")));
}

TEST(SpirvMatrices, BecomeTheStoredText) {
  kernel::Function f = matrix_function();
  ASSERT_EQ(kernel::verify(f), "");
  testing::StoredTexts{"matrix", ".txt"}.expect("spirv", spirv::disassemble(emit_spirv(f)));
}

kernel::Function dot_function() {
  return kernel::narrow_indices(
      kernel::parse("kernel @dot(%a: u32[32], %b: u32[32], %y: out i32[32]) dims() tiles(1) scratch(0) { "
                    "grid %g = 0, 1 { thread %t = 0, 32 { "
                    "%y[%t] = dot4(bitcast(%a[%t]):u8x4, bitcast(%b[%t]):i8x4, 7:i32) } } }"));
}

// What a validator says that knows matrices and dot products of bytes (Debian's does not): 0 for sound code.
int validate(const std::string& code, const std::string& environment) {
  const std::string tool = MLC_SOURCE_DIR "/.cache/spirv-tools/spirv-val";
  EXPECT_TRUE(file_exists(tool)) << tool << " is not here; run scripts/validator";
  testing::TempFolder folder;
  EXPECT_TRUE(write_file(folder.file("k.spv"), code).is_ok());
  return std::system(
      str(tool, " --target-env ", environment, " ", folder.file("k.spv"), " 2> /dev/null").c_str());
}

TEST(SpirvMatrices, AreValidForVulkan) {
  std::vector<kernel::Function> kernels = {matrix_function(), dot_function()};
  for (const char* device : {"vulkan-nvidia", "vulkan-amd", "vulkan-intel"})
    kernels.push_back(testing::matrix_matmul(device));
  for (const kernel::Function& f : kernels)
    for (const char* version : {"vulkan1.1", "vulkan1.3"})
      EXPECT_EQ(validate(emit_spirv(f), version), 0) << f.name;
}

// The validator is no rubber stamp: GLSL's memory model does not allow matrices.
TEST(SpirvMatrices, ValidationSeesAWrongMemoryModel) {
  std::string code = emit_spirv(matrix_function());
  const uint32_t model[] = {3u << 16 | static_cast<uint32_t>(spirv::Op::kMemoryModel), 0, 3};
  size_t at = code.find(std::string(reinterpret_cast<const char*>(model), sizeof model));
  ASSERT_NE(at, std::string::npos);
  code[at + 8] = 1;
  EXPECT_NE(validate(code, "vulkan1.1"), 0);
}

TEST(Spirv, EqualKernelsGiveEqualBytes) {
  for (const DeviceCase& c : device_cases())
    EXPECT_EQ(emit_spirv(device_function(c)), emit_spirv(device_function(c))) << c.name;
}

// Each addition and multiplication of floats, and nothing else, is kept from contraction.
TEST(Spirv, KeepsProductsAndSumsApart) {
  std::string text = spirv::disassemble(emit_spirv(device_function(device_cases()[0])));
  size_t decorated = 0, arithmetic = 0;
  for (const std::string& line : split(text, '\n')) {
    decorated += line.rfind("Decorate", 0) == 0 && line.ends_with(" 42");
    for (const char* op : {" = FAdd ", " = FSub ", " = FMul "})
      arithmetic += line.find(op) != std::string::npos;
  }
  EXPECT_EQ(arithmetic, 4u);
  EXPECT_EQ(decorated, arithmetic);
}

TEST(Spirv, DotsOfBytesNeedTheirExtension) {
  std::string text = spirv::disassemble(emit_spirv(dot_function()));
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
