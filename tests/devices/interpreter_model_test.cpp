// A whole toy model on the interpreter device, and on the CPU device from the same kernels: the same logits.
#include <gtest/gtest.h>

#include <cmath>

#include "support/compiled_model.h"
#include "support/interpreted_library.h"
#include "support/native_kernels.h"
#include "support/npy.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

struct Case {
  std::string scheme;
  int opt_level;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.scheme << " O" << c.opt_level; }

class InterpreterModel : public ::testing::TestWithParam<Case> {};

// Kernel IR fixes every rounding and order, so the device that interprets it and the code made from it agree
// to the bit.
TEST_P(InterpreterModel, HasTheLogitsOfTheCpuDevice) {
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), GetParam().scheme, folder.path());
  const Json config = toy_config("llama", GetParam().scheme);
  const std::vector<int32_t> tokens = read_npy(toy_file("llama", "tokens.npy")).ints;
  const Target target = runnable_targets().front();
  const runtime::ModelLimits limits{
      .max_sequences = 2, .context_tokens = 32, .prefill_chunk = 8, .shuffle_pages = 3};
  compile_to(folder.file("model.so"), config, GetParam().opt_level, {target});
  const LoadedModel native =
      LoadedModel::load(must(runtime::open_device("cpu")), folder.file("model.so"), folder.path(), limits);

  register_interpreter_device();
  CompileOptions options;
  options.opt_level = GetParam().opt_level;
  options.targets = {target};
  const auto library = interpreted(config, options);
  LoadedModel interpreted;
  interpreted.device = must(runtime::open_device("interpreter"));
  interpreted.module = must(runtime::Module::wrap(*interpreted.device, **library, "toy"));
  interpreted.model =
      must(runtime::Model::load(*interpreted.device, interpreted.module, folder.path(), limits));
  EXPECT_EQ(interpreted.module->variant(), "interpreter");

  std::vector<std::vector<float>> logits;
  for (const LoadedModel* m : {&native, &std::as_const(interpreted)}) {
    must((*m)->sequences().add(1));
    std::vector<float> all = m->step({{1, std::span(tokens).first(7)}}, WantLogits::kAll);
    must((*m)->sequences().fork(1, 2, 5));
    const std::vector<float> next = m->step(
        {{1, std::span(tokens).subspan(7, 1)}, {2, std::span(tokens).subspan(5, 1)}}, WantLogits::kLast);
    all.insert(all.end(), next.begin(), next.end());
    logits.push_back(std::move(all));
  }
  ASSERT_EQ(logits[0].size(), logits[1].size());
  for (size_t i = 0; i < logits[0].size(); ++i)
    ASSERT_EQ(logits[0][i], logits[1][i]) << "logit " << i % 512 << " of row " << i / 512;
}

INSTANTIATE_TEST_SUITE_P(Llama, InterpreterModel,
                         ::testing::Values(Case{"q0f32", 0}, Case{"q4f16_1", 0}, Case{"q4f16_1", 2},
                                           Case{"q3f16_1", 2}),
                         [](const auto& info) {
                           return info.param.scheme + "_O" + std::to_string(info.param.opt_level);
                         });

TEST(InterpreterModelErrors, ALibraryOfMachineCodeDoesNotRunOnIt) {
  TempFolder folder;
  register_interpreter_device();
  compile_to(folder.file("model.so"), toy_config("llama", "q0f32"), 0, {runnable_targets().front()});
  const runtime::DevicePtr device = must(runtime::open_device("interpreter"));
  const auto module = runtime::Module::load(*device, folder.file("model.so"));
  ASSERT_FALSE(module.is_ok());
  EXPECT_NE(module.status().message().find("needs a device of kind cpu"), std::string::npos)
      << module.status().message();
}

}  // namespace
}  // namespace mlc::testing
