// Code objects of every construct of device functions, for every architecture: what they take and that they
// are what drivers load. No GPU or emulator runs them here.
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

kernel::Function of_threads(int threads, const std::string& head, const std::string& body) {
  return kernel::unify_accesses(kernel::narrow_indices(
      kernel::parse(str("kernel @wide(%x: f32[256], %y: out f32[256]) dims() tiles(2) scratch(0)", head,
                        " { grid %g = 0, 2 { shared %a: f32[", threads, "] thread %t = 0, ", threads,
                        " { let %i = ((%g * ", threads, ") + %t) ", body, " } } }"))));
}

// Of two wavefronts and more: within one LLVM needs none.
TEST_P(Amdgpu, BarriersWaitForMemory) {
  const kernel::Function f = of_threads(128, "", "%a[%t] = %x[%i] barrier %y[%i] = %a[(127 - %t)]");
  const std::string text = disassemble_amdgpu(emit_amdgpu(f, target_of(GetParam())));
  const size_t barrier = text.find("s_barrier"), store = text.find("ds_");
  ASSERT_NE(barrier, text.npos) << text;
  const size_t wait = text.rfind("s_wait", barrier);
  ASSERT_NE(wait, text.npos) << text;
  EXPECT_LT(store, wait) << text;
  EXPECT_NE(text.find("ds_", barrier), text.npos) << text;
}

// A sum over a wavefront: one exchange for each doubling.
TEST_P(Amdgpu, SubgroupsAreWavefronts) {
  const Target target = target_of(GetParam());
  const kernel::Function f = of_threads(64, str(" subgroups(", target.subgroup_size, ")"),
                                        "let %s = subgroup_add(%x[%i]) %y[%i] = %s");
  const std::string text = disassemble_amdgpu(emit_amdgpu(f, target));
  int exchanges = 0;
  for (const std::string& line : split(text, '\n'))
    for (const char* exchange : {"quad_perm", "row_xmask", "ds_swizzle", "ds_bpermute"})
      exchanges += line.find(exchange) != line.npos;
  EXPECT_EQ(exchanges, target.subgroup_size == 64 ? 6 : 5) << text;
}

TEST_P(Amdgpu, LinksToAnObjectOfItsArchitecture) {
  const Target target = target_of(GetParam());
  const std::string blob =
      link::finish_gpu_kernel(emit_gpu_kernel(device_function(device_cases()[0]), target)).value();
  const std::string code(read_gpu_kernel(blob.data(), GpuLanguage::kAmdgpu)->code);
  ASSERT_GT(code.size(), 64u);
  EXPECT_EQ(code.substr(0, 5),
            "\x7F"
            "ELF\x02");
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
