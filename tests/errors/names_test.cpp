// Unknown names and values on the command line and in configs: each is named, with what was expected and the
// nearest match.
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::Outcome;
using testing::run_mlc_llm;

class NameErrors : public ::testing::Test {
 protected:
  testing::Workplace place_;
  std::string output_ = place_.make_folder("out");
  std::string out(const std::string& name = "new") const { return output_ + "/" + name; }

  // The mistake is told and leaves nothing behind.
  void expect(const std::vector<std::string>& arguments, const std::vector<std::string>& words) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    Outcome o = run_mlc_llm(arguments, {.environment = {{"MLC_LLM_HOME", place_.path("home")}}});
    expect_error(o, words);
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
    for (const std::string& name : place_.list("home"))
      EXPECT_FALSE(is_directory(place_.path("home/" + name)) && name.find('-') != std::string::npos) << name;
  }
};

TEST_F(NameErrors, Commands) {
  expect({"compil"}, {"compil", "did you mean 'compile'"});
  expect({"chat", "a", "b"}, {"unexpected argument b", "chat"});
}

TEST_F(NameErrors, Flags) {
  expect({"convert_weight", "x", "--quantisation", "q4f16_1", "-o", out()},
         {"--quantisation", "convert_weight", "'--quantization'"});
  expect({"gen_config", "x", "--quantization", "q4f16_1", "--conv-tmplate", "chatml", "-o", out()},
         {"--conv-tmplate", "'--conv-template'"});
  expect({"compile", "x", "--devise", "cpu", "-o", out("a.so")}, {"--devise", "compile", "'--device'"});
  expect({"compile", "x", "--outpt", out("a.so")}, {"--outpt", "'--output'"});
  expect({"chat", "x", "--promt", "hi"}, {"--promt", "'--prompt'"});
  expect({"bench", "x", "--jsn"}, {"--jsn", "'--json'"});
  expect({"info", "x", "--tensor"}, {"--tensor", "'--tensors'"});
}

TEST_F(NameErrors, MissingFlags) {
  expect({"compile", "x"}, {"--output", "missing"});
  expect({"chat"}, {"MODEL", "missing"});
  expect({"convert_weight", "x", "-o", out()}, {"--quantization", "missing"});
}

TEST_F(NameErrors, Numbers) {
  expect({"chat", "x", "--threads", "many"}, {"--threads", "'many'", "1 to 512"});
  expect({"chat", "x", "--threads", "0"}, {"--threads", "'0'", "1 to 512"});
  expect({"bench", "x", "--threads", "511"},
         {"--threads", "511 is more than the ", " cores this process may use"});
  expect({"bench", "x", "--prefill", "-3"}, {"--prefill", "'-3'", "1 to "});
  expect({"gen_config", "x", "--quantization", "q4f16_1", "--context-window-size", "big", "-o", out()},
         {"--context-window-size", "'big'", "number"});
}

TEST_F(NameErrors, ModelType) {
  std::string checkpoint = testing::toy_checkpoint(place_, "m", "llama", R"({"model_type": "lama"})");
  for (const char* command : {"convert_weight", "gen_config"})
    expect({command, checkpoint, "--quantization", "q4f16_1", "-o", out()},
           {"config.json", "model_type 'lama'", "expected one of bert, bloom, "});
  expect({"convert_weight", checkpoint, "--model-type", "gptneox", "--quantization", "q4f16_1", "-o", out()},
         {"--model-type", "'gptneox'", "did you mean 'gpt_neox'"});
  expect({"chat", checkpoint, "--prompt", "hi"}, {"model_type 'lama'"});
}

TEST_F(NameErrors, Quantization) {
  std::string checkpoint = testing::toy_checkpoint(place_);
  for (const char* command : {"convert_weight", "gen_config"})
    expect({command, checkpoint, "--quantization", "q4f16_9", "-o", out()},
           {"--quantization", "'q4f16_9'", "q3f16_1", "did you mean 'q4f16_"});
  std::string folder = testing::converted(place_, checkpoint, "q4f16_1", "c");
  expect({"compile", folder, "--quantization", "q5", "-o", out("a.so")},
         {"--quantization", "'q5'", "q4f16_1"});
}

TEST_F(NameErrors, KnobsAndNames) {
  std::string folder = testing::converted(place_, testing::toy_checkpoint(place_), "q4f16_1", "c");
  auto compile = [&](const std::string& flag, const std::string& value,
                     const std::vector<std::string>& words) {
    expect({"compile", folder, "-o", out("a.so"), flag, value}, words);
  };
  compile("--overrides", "contxt_window_size=1",
          {"--overrides", "'contxt_window_size'", "did you mean 'context_window_size'"});
  compile("--overrides", "context_window_size", {"--overrides", "'context_window_size'", "no value"});
  compile("--overrides", "context_window_size=x", {"--overrides", "'x'", "an integer"});
  compile("--overrides", "context_window_size=0", {"--overrides", "context_window_size", "0"});
  compile("--overrides", "tensor_parallel_shards=2",
          {"--overrides", "tensor_parallel_shards=2", "not built yet"});
  compile("--opt", "O9", {"--opt", "'O9'", "O0, O1, O2, O3"});
  compile("--opt", "flashinfr=1", {"--opt", "'flashinfr'", "did you mean 'flashinfer'"});
  compile("--opt", "flashinfer=2", {"--opt", "'flashinfer'", "'2'", "0 or 1"});
  compile("--device", "rocm:gfx110", {"--device", "'rocm:gfx110'", "did you mean"});
  compile("--device", "cpuu", {"--device", "'cpuu'", "did you mean 'cpu'"});
  compile("--host", "x86_65-linux", {"--host", "x86_65-linux"});
  compile("--stop-after", "kernal", {"--stop-after", "'kernal'", "did you mean 'kernel'"});
  compile("--skip-passes", "nothing", {"--skip-passes", "nothing"});
  expect({"chat", folder, "--overrides", "optt=O2", "--prompt", "x"},
         {"--overrides", "'optt'", "did you mean 'opt'"});
  expect({"chat", folder, "--device", "cud", "--prompt", "x"}, {"--device", "'cud'"});
  expect({"gen_config", place_.path("llama"), "--quantization", "q4f16_1", "--conv-template", "chatmll", "-o",
          out()},
         {"--conv-template", "chatmll", "did you mean 'chatml'"});
}

TEST_F(NameErrors, JitPolicy) {
  std::string folder = testing::converted(place_, testing::toy_checkpoint(place_), "q4f16_1", "c");
  Outcome o = run_mlc_llm({"chat", folder, "--prompt", "x"}, {.environment = {{"MLC_JIT_POLICY", "REDOO"}}});
  expect_error(o, {"MLC_JIT_POLICY", "'REDOO'", "ON, OFF, REDO or READONLY", "did you mean 'REDO'"});
}

TEST_F(NameErrors, ConfigsThatAreNone) {
  std::string folder = testing::toy_checkpoint(place_, "bad");
  for (const auto& [text, word] :
       {std::pair{"[1]", "object"}, {"{\"a\":", "JSON"}, {"{}", "model_type"}, {"\xff\xfe", "JSON"}}) {
    place_.write("bad/mlc-chat-config.json", text);
    expect({"compile", folder, "-o", out("a.so")}, {"mlc-chat-config.json", word});
    expect({"chat", folder, "--prompt", "x"}, {"mlc-chat-config.json", word});
    place_.write("bad/config.json", text);
    expect({"convert_weight", folder, "--quantization", "q4f16_1", "-o", out()}, {"config.json"});
  }
  expect({"compile", place_.path("nowhere"), "-o", out("a.so")}, {"nowhere", "gen_config"});
  expect({"chat", place_.path("nowhere")}, {"nowhere", "no such file or folder"});
  expect({"convert_weight", place_.path("nowhere"), "--quantization", "q4f16_1", "-o", out()}, {"nowhere"});
}

}  // namespace
}  // namespace mlc
