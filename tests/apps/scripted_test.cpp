// What scripted models say through chat: they are what other tests stand on.
#include <gtest/gtest.h>

#include "support/command.h"
#include "support/scripted_model.h"

namespace mlc {
namespace {

using testing::run_mlc_llm;

TEST(ScriptedModels, SayTheirAnswer) {
  testing::Workplace place;
  testing::CommandOptions options{.input = "one\ntwo\n",
                                  .environment = {{"MLC_LLM_HOME", place.path("home")}}};
  testing::ScriptedModel model =
      testing::scripted({.answer = {"Ol", "\xc3", "\xa9", "!"}, .merges = {{"O", "l"}}, .gpt2_order = true});
  for (const std::string& path : {testing::write_folder(place.path("folder"), model),
                                  testing::write_gguf(place.path("m.gguf"), model)}) {
    testing::Outcome o = run_mlc_llm({"chat", path, "--quantization", "q0f32"}, options);
    EXPECT_EQ(o.exit_code, 0) << o.err;
    EXPECT_EQ(o.out, "Olé!\nOlé!\n") << path;
  }
}

}  // namespace
}  // namespace mlc
