// The compile commands of MLC LLM's documents, models x devices x suffixes: each writes a file of the
// container its device and suffix mean, which `info` and `model_metadata` read here, whatever system it is
// for.
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;

constexpr std::string_view kWasmMagic("\0asm", 4);

struct Row {
  std::vector<std::string> device;  // --device and what stands beside it
  const char* suffix;
  std::string_view magic;    // the file's first bytes
  const char* container;     // as info names it
  const char* architecture;  // of its container
};

// Devices and suffixes of docs/compilation/compile_models.rst, the presets and --host triples of
// mlc-facts 1.3 to 1.7, as far as their languages exist.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"vulkan:generic"}, ".dll", "MZ", "PE", "x86_64"},
      {{"opencl", "--host", "aarch64-linux-gnu"},
       ".so",
       "\x7f"
       "ELF",
       "ELF",
       "aarch64"},
      {{"opencl"}, ".dylib", "\xcf\xfa\xed\xfe", "Mach-O", "aarch64"},
      {{"opencl"}, ".tar", "library.o", "tar", ""},
      {{"opencl", "--host", "x86_64-pc-windows-msvc"}, ".lib", "!<arch>\n", "ar", "x86_64"},
      {{"android"}, ".tar", "library.o", "tar", "aarch64"},
      {{"android:adreno"}, ".tar", "library.o", "tar", "aarch64"},
      {{"android:adreno-so"},
       ".so",
       "\x7f"
       "ELF",
       "ELF",
       "aarch64"},
      {{"mali"},
       ".so",
       "\x7f"
       "ELF",
       "ELF",
       "aarch64"},
      {{"windows:adreno_x86"}, ".dll", "MZ", "PE", "x86_64"},
      {{"cpu", "--host", "x86_64-w64-mingw32"}, ".dll", "MZ", "PE", "x86_64"},
      {{"cpu", "--host", "x86_64-apple-darwin"}, ".dylib", "\xcf\xfa\xed\xfe", "Mach-O", "x86_64"},
      {{"cpu-wasm"}, ".wasm", kWasmMagic, "wasm", "wasm32"},
      {{"webgpu"}, ".wasm", kWasmMagic, "wasm", "wasm32"},
      {{"webgpu:generic"}, ".wasm", kWasmMagic, "wasm", "wasm32"},
      {{"auto"}, ".wasm", kWasmMagic, "wasm", "wasm32"},
      {{"llvm", "--host", "aarch64-linux-android"},
       ".so",
       "\x7f"
       "ELF",
       "ELF",
       "aarch64"},
  };
  return table;
}

class Targets : public ::testing::Test {
 protected:
  testing::Workplace place;
  const std::string model = testing::converted(place, testing::toy_checkpoint(place), "q4f16_1", "toy");
};

TEST_F(Targets, EveryCommandWritesItsContainer) {
  int number = 0;
  for (const Row& row : rows()) {
    std::string file = place.path("m" + std::to_string(number++) + row.suffix), told = row.suffix;
    std::vector<std::string> command = {"compile", model, "--opt", "O0", "-o", file, "--device"};
    for (const std::string& word : row.device) command.push_back(word), told += " " + word;
    Outcome made = run_mlc_llm(command);
    ASSERT_EQ(made.exit_code, 0) << told << made.err;
    EXPECT_EQ(made.err, "") << told;
    EXPECT_TRUE(read_file(file).value().starts_with(row.magic)) << told;
    Outcome info = run_mlc_llm({"info", file});
    EXPECT_EQ(info.exit_code, 0) << told << info.err;
    EXPECT_NE(info.out.find(std::string("container        ") + row.container + "\n"), std::string::npos)
        << info.out;
    EXPECT_NE(info.out.find(std::string("architecture     ") + row.architecture), std::string::npos)
        << info.out;
    Outcome memory = run_mlc_llm({"model_metadata", file, "--memory-only"});
    EXPECT_TRUE(memory.out.starts_with("memory without the KV cache: ")) << told << memory.out << memory.err;
  }
}

TEST_F(Targets, LibrariesOfOtherSystemsAreNotLoaded) {
  for (std::string suffix : {".dll", ".dylib", ".tar", ".wasm"}) {
    std::string file = place.path("m" + suffix), device = suffix == ".wasm" ? "cpu-wasm" : "opencl";
    ASSERT_EQ(run_mlc_llm({"compile", model, "--device", device, "-o", file}).exit_code, 0);
    Outcome o = run_mlc_llm({"chat", model, "--device", "cpu", "--model-lib", file, "--prompt", "x"});
    EXPECT_EQ(o.exit_code, 1) << suffix;
    EXPECT_NE(o.err.find(file), std::string::npos) << o.err;
  }
}

TEST_F(Targets, WebLibrariesHoldTheCpuBehindWebGpu) {
  for (bool gpu : {true, false}) {
    const std::string file = place.path("m.wasm");
    ASSERT_EQ(run_mlc_llm({"compile", model, "--device", gpu ? "webgpu" : "cpu-wasm", "-o", file}).exit_code,
              0);
    Outcome info = run_mlc_llm({"info", file});
    EXPECT_EQ(info.out.find("webgpu") != std::string::npos, gpu) << info.out;
    EXPECT_NE(info.out.find("wasm32-simd128\n"), std::string::npos) << "not the last variant\n" << info.out;
  }
}

TEST_F(Targets, MetadataIsTheManifest) {
  const std::string file = testing::compiled(place, model, "m.so");
  Outcome o = run_mlc_llm({"model_metadata", file, "--mlc-chat-config", model + "/mlc-chat-config.json"});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  for (const char* part :
       {"\"model_type\": \"llama\"", "\"memory_usage\"", "\"kv_state_kind\"", "parameters "})
    EXPECT_NE(o.out.find(part), std::string::npos) << part;
}

}  // namespace
}  // namespace mlc
