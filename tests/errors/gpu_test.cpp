// What the commands say of GPUs: presets that compile without one, names that are not built, drivers and
// devices that are not there, and libraries for another kind of device.
#include <gtest/gtest.h>

#include "support/command.h"

namespace mlc {
namespace {

using testing::CommandOptions;
using testing::expect_error;
using testing::Outcome;
using testing::run_mlc_llm;

// No driver is registered with the loader.
const std::map<std::string, std::string> kNoDriver = {{"OCL_ICD_VENDORS", "/nowhere"},
                                                      {"VK_ICD_FILENAMES", "/nowhere"}};

class Gpu : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    place_ = new testing::Workplace;
    folder_ = testing::converted(*place_, testing::toy_checkpoint(*place_), "q4f16_1", "q4");
  }
  static void TearDownTestSuite() { delete place_; }

  static Outcome compile(const std::string& device, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments = {"compile", folder_, "--device",
                                          device,    "-o",    place_->path("out.so")};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_mlc_llm(arguments, {.environment = kNoDriver});
  }
  static Outcome chat(const std::vector<std::string>& flags,
                      const std::map<std::string, std::string>& environment = {}) {
    std::vector<std::string> arguments = {"chat", folder_, "--prompt", "hi"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_mlc_llm(arguments, {.environment = environment});
  }

  static inline testing::Workplace* place_ = nullptr;
  static inline std::string folder_;
};

TEST_F(Gpu, PresetsCompileOnAMachineWithoutDrivers) {
  for (const char* device :
       {"opencl:generic", "opencl-adreno", "vulkan:generic", "rocm:gfx1100", "webgpu", "webgpu:generic"}) {
    Outcome o = compile(device);
    EXPECT_EQ(o.exit_code, 0) << device << ": " << o.err;
    std::string kind = std::string(device).substr(0, std::string(device).find_first_of(":-"));
    EXPECT_NE(run_mlc_llm({"info", place_->path("out.so")}).out.find("device           " + kind),
              std::string::npos)
        << device;
  }
}

TEST_F(Gpu, HostChoosesTheContainer) {
  EXPECT_EQ(compile("opencl", {"--host", "aarch64-unknown-linux-gnu"}).exit_code, 0);
  EXPECT_NE(run_mlc_llm({"info", place_->path("out.so")}).out.find("aarch64"), std::string::npos);
  expect_error(compile("opencl", {"--host", "vax-dec-vms"}), {"--host", "vax-dec-vms"});
  expect_error(compile("opencl", {"--host", "arm64-apple-darwim"}),
               {"--host", "did you mean 'arm64-apple-darwin'"});
}

TEST_F(Gpu, PresetsWantTheirSuffix) {
  for (const char* device : {"android", "android:adreno"})
    expect_error(compile(device), {"--output", "out.so", "preset", ".tar"});
}

TEST_F(Gpu, UnknownNamesAreRefused) {
  expect_error(compile("rocm:gfx803"), {"--device: unknown device 'rocm:gfx803'", "rocm-gfx1100"});
  expect_error(chat({"--device", "webgpu"}), {"--device webgpu: it needs a browser", "--device cpu"});
  expect_error(compile("opencll"), {"--device: unknown device 'opencll'", "did you mean 'opencl'"});
}

TEST_F(Gpu, NoDriver) {
  expect_error(chat({"--device", "opencl"}, kNoDriver), {"--device opencl", "install", "--device cpu"});
  EXPECT_EQ(chat({"--device", "auto"}, kNoDriver).exit_code, 0) << "auto falls back to the CPU";
  Outcome o = run_mlc_llm({"devices"}, {.environment = kNoDriver});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  for (const char* part : {"opencl     none: ", "cpu", "--device auto: cpu"})
    EXPECT_NE(o.out.find(part), std::string::npos) << o.out;
}

TEST_F(Gpu, LibraryForAnotherKindOfDevice) {
  ASSERT_EQ(compile("opencl").exit_code, 0);
  expect_error(chat({"--device", "cpu", "--model-lib", place_->path("out.so")}),
               {"out.so: this library is for --device opencl, the device is cpu", "--device opencl"});
}

}  // namespace
}  // namespace mlc
