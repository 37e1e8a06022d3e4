// PTX of every construct of device functions: stored text, and the word of NVIDIA's assembler for each
// architecture.
//
// tests/emit/ptx/<case>.txt holds the PTX of each case of device_cases.h for sm_80; MLC_BLESS=1 writes what
// was got.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "base/strings.h"
#include "base/target/cuda.h"
#include "emit/stored_texts.h"
#include "lang/llvm/emit_ptx.h"
#include "support/temp_folder.h"

namespace mlc::lang {
namespace {

kernel::Function warp_function(const DeviceCase& c) {
  DeviceCase in_warps = c;
  if (in_warps.subgroups) in_warps.subgroups = 32;
  return device_function(in_warps);
}

const testing::StoredTexts kTexts = {"ptx", ".txt"};

class PtxConstructs : public ::testing::TestWithParam<DeviceCase> {};

TEST_P(PtxConstructs, BecomeTheStoredText) {
  const Target target = cuda_targets("cuda-sm80").front();
  kTexts.expect(GetParam().name, emit_ptx(warp_function(GetParam()), target));
}

INSTANTIATE_TEST_SUITE_P(Emit, PtxConstructs, ::testing::ValuesIn(device_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Ptx, EveryStoredTextHasItsCase) { kTexts.expect_no_others(); }

// 0 when ptxas assembles the text for that architecture.
int assemble(const std::string& ptx, int architecture) {
  const std::string tool = MLC_SOURCE_DIR "/.cache/ptxas/ptxas";
  EXPECT_TRUE(file_exists(tool)) << tool << " is not here; run scripts/ptxas";
  testing::TempFolder folder;
  EXPECT_TRUE(write_file(folder.file("k.ptx"), ptx).is_ok());
  return std::system(str(tool, " -arch=sm_", architecture, " -o ", folder.file("k.cubin"), " ",
                         folder.file("k.ptx"), " 2> /dev/null")
                         .c_str());
}

// One file of all entries, as the runtime gives the driver: the three lines of the head once.
TEST(Ptx, IsAcceptedForEveryArchitecture) {
  for (const CudaArchitecture& a : cuda_architectures()) {
    std::string all;
    for (const DeviceCase& c : device_cases()) {
      std::string text = emit_ptx(warp_function(c), cuda_targets(str("cuda-sm", a.number)).front());
      all += all.empty() ? text : text.substr(text.find(".visible"));
    }
    EXPECT_EQ(assemble(all, a.number), 0) << a.number;
  }
}

// The assembler is no rubber stamp: code for newer machines is refused.
TEST(Ptx, AssemblerSeesAnOlderArchitecture) {
  EXPECT_NE(assemble(emit_ptx(warp_function(device_cases()[0]), cuda_targets("cuda-sm90").front()), 80), 0);
}

TEST(Ptx, EqualKernelsGiveEqualText) {
  const Target target = cuda_targets("cuda-sm90").front();
  for (const DeviceCase& c : device_cases())
    EXPECT_EQ(emit_ptx(warp_function(c), target), emit_ptx(warp_function(c), target)) << c.name;
}

}  // namespace
}  // namespace mlc::lang
