// Code objects of every construct of device functions, for every architecture: what they take and that they are
// what drivers load. No GPU or emulator runs them here.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/target/rocm.h"
#include "emit/device_cases.h"
#include "formats/library.h"
#include "lang/gpu_variant.h"
#include "lang/llvm/emit_amdgpu.h"
#include "link/code_object.h"

namespace mlc::lang {
namespace {

Target target_of(const std::string& architecture) {
  return targets_for_device("rocm-" + architecture).value().front();
}

// Subgroups of the architecture's size, of which groups of 32 threads are no multiple where it is 64.
bool runs_on(const DeviceCase& c, const Target& target) { return !c.subgroups || target.subgroup_size == 32; }

std::string emit(DeviceCase c, const Target& target) {
  if (c.subgroups) c.subgroups = target.subgroup_size;
  return emit_amdgpu(device_function(c), target);
}

class Amdgpu : public ::testing::TestWithParam<std::string> {};

TEST_P(Amdgpu, EveryConstructKeepsToItsRegisters) {
  const Target target = target_of(GetParam());
  for (const DeviceCase& c : device_cases()) {
    if (!runs_on(c, target)) continue;
    const AmdgpuResources r = amdgpu_resources(emit(c, target));
    EXPECT_EQ(r.scratch_bytes, 0) << c.name;
    EXPECT_EQ(r.spilled, 0) << c.name;
    EXPECT_EQ(r.group_size, 32) << c.name;
    EXPECT_EQ(r.argument_bytes, 5 * 8 + 4) << c.name << ": five buffers and a dim, nothing hidden";
    EXPECT_EQ(r.shared_bytes, c.name == "shared_memory" ? 32 * 4 + 8 * 16 : 0) << c.name;
  }
}

TEST_P(Amdgpu, EveryInstructionIsOne) {
  const Target target = target_of(GetParam());
  for (const DeviceCase& c : device_cases()) {
    if (!runs_on(c, target)) continue;
    const std::string text = disassemble_amdgpu(emit(c, target));
    EXPECT_EQ(text.find(c.name + ":"), 0u);
    EXPECT_EQ(text.find("<no instruction>"), std::string::npos) << text;
    EXPECT_NE(text.find("s_endpgm"), std::string::npos) << text;
    EXPECT_EQ(text.find("scratch_"), std::string::npos) << text;
    EXPECT_EQ(text.find("s_swappc"), std::string::npos) << "a call: " << text;
  }
}

// Sums are rounded each: no fused multiply-add where the kernel has none.
TEST_P(Amdgpu, NothingIsContracted) {
  const Target target = target_of(GetParam());
  auto has_fma = [&](const std::string& name) {
    for (const DeviceCase& c : device_cases()) {
      if (c.name != name) continue;
      const std::string text = disassemble_amdgpu(emit(c, target));
      for (const char* fused : {"v_fma_f32", "v_fmac_f32", "v_mad_f32", "v_mac_f32", "v_fmaak", "v_fmamk",
                                "v_dual_fmac", "v_dual_fma"})
        if (text.find(fused) != text.npos) return true;
    }
    return false;
  };
  EXPECT_FALSE(has_fma("float_arithmetic"));
  EXPECT_TRUE(has_fma("fused_multiply_add"));
}

TEST_P(Amdgpu, BarriersWaitForMemory) {
  const Target target = target_of(GetParam());
  for (const DeviceCase& c : device_cases()) {
    if (c.name != "shared_memory") continue;
    const std::string text = disassemble_amdgpu(emit(c, target));
    const size_t barrier = text.find("s_barrier");
    ASSERT_NE(barrier, text.npos) << text;
    EXPECT_NE(text.rfind("s_wait", barrier), text.npos) << text;
  }
}

TEST_P(Amdgpu, LinksToAnObjectOfItsArchitecture) {
  const Target target = target_of(GetParam());
  const std::string blob = link::finish_gpu_kernel(emit_gpu_kernel(device_function(device_cases()[0]), target)).value();
  const std::string code(read_gpu_kernel(blob.data(), GpuLanguage::kAmdgpu)->code);
  ASSERT_GT(code.size(), 64u);
  EXPECT_EQ(code.substr(0, 5), "\x7F""ELF\x02");
  EXPECT_EQ(code[16], 3) << "a shared object";
  EXPECT_EQ(static_cast<uint8_t>(code[18]), 224) << "of AMDGPU";
  EXPECT_EQ(code[8], 2) << "of version 4";
  EXPECT_NE(code.find(device_cases()[0].name + ".kd"), code.npos) << "a kernel has its descriptor";
  EXPECT_EQ(amdgpu_resources(code).argument_bytes, 44);
  EXPECT_NE(disassemble_amdgpu(code).find("s_endpgm"), std::string::npos);
}

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const RocmArchitecture& a : rocm_architectures()) names.push_back(a.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Emit, Amdgpu, ::testing::ValuesIn(architectures()),
                         [](const auto& info) { return info.param; });

// Other languages' blobs are left alone.
TEST(CodeObjects, AreLinkedOfAmdgpuAlone) {
  const Target target = targets_for_device("webgpu").value().back();
  const std::string blob = emit_gpu_kernel(device_function(device_cases()[0]), target);
  EXPECT_EQ(link::finish_gpu_kernel(blob).value(), blob);
}

}  // namespace
}  // namespace mlc::lang
