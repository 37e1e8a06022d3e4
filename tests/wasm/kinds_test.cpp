// A library whose variants are for devices of several kinds, as a .wasm holds them: each kind's plan goes
// with a manifest of its own, and the CPU computes what a library of its kernels alone does.
#include <gtest/gtest.h>

#include "support/compiled_model.h"
#include "support/native_kernels.h"
#include "support/npy.h"

namespace mlc::testing {
namespace {

TEST(Kinds, TheCpuFindsItsVariantBehindAnotherDevices) {
  TempFolder folder;
  constexpr const char* kToy = "llama";
  convert_checkpoint(toy_file(kToy, ""), "q4f16_1", folder.path());
  std::vector<Target> both = targets_for_device("webgpu-software").value();
  const size_t gpus = both.size();
  both.push_back(best_targets().back());
  const Json config = toy_config(kToy, "q4f16_1");
  compile_to(folder.file("both.so"), config, 2, both);
  compile_to(folder.file("cpu.so"), config, 2, {both.back()});

  runtime::DevicePtr device = must(runtime::open_device("cpu", {}));
  auto alone = must(runtime::Module::load(*device, folder.file("cpu.so")));
  LoadedLibrary file(read_file(folder.file("both.so")).value());
  auto found = must(runtime::Module::wrap(*device, *file, "both.so"));
  EXPECT_EQ(found->variant(), both.back().name);
  EXPECT_EQ(encode_plan(found->plan()), encode_plan(alone->plan()));
  Json mine = found->manifest(), other = alone->manifest();
  EXPECT_EQ(mine["library"]["variants"].size(), gpus + 1);
  mine["library"].erase("variants"), other["library"].erase("variants");
  EXPECT_EQ(mine, other);
  EXPECT_EQ(Json::parse(std::string((*file).manifest, (*file).manifest_bytes))["library"]["kind"], "webgpu");
}

}  // namespace
}  // namespace mlc::testing
