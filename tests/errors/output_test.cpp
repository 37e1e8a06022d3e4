// Output that cannot be written: told in one sentence, and nothing half-written stays.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::CommandOptions;
using testing::expect_error;
using testing::Outcome;
using testing::run_mlc_llm;
using Names = std::vector<std::string>;

class OutputErrors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::Workplace;
    checkpoint_ = testing::toy_checkpoint(*shared_);
    folder_ = testing::converted(*shared_, checkpoint_, "q4f16_1", "q4");
  }
  static void TearDownTestSuite() { delete shared_; }

  Outcome compile(const std::string& output, const CommandOptions& options = {}) {
    return run_mlc_llm({"compile", folder_, "--device", "cpu", "-o", output}, options);
  }
  Outcome compile_for(const std::vector<std::string>& device, const std::string& output) {
    std::vector<std::string> command = {"compile", folder_, "-o", output, "--device"};
    command.insert(command.end(), device.begin(), device.end());
    return run_mlc_llm(command);
  }
  static Outcome convert(const std::string& output, const CommandOptions& options = {}) {
    return run_mlc_llm({"convert_weight", checkpoint_, "--quantization", "q4f16_1", "-o", output}, options);
  }
  static Outcome gen_config(const std::string& output, const CommandOptions& options = {}) {
    return run_mlc_llm({"gen_config", checkpoint_, "--quantization", "q4f16_1", "-o", output}, options);
  }

  static inline testing::Workplace* shared_ = nullptr;
  static inline std::string checkpoint_, folder_;
  testing::Workplace place_;
  std::string out_ = place_.make_folder("out");
};

TEST_F(OutputErrors, LibraryToADirectory) {
  expect_error(compile(out_), {"--output", out_, "is a directory", "model.so"});
}

TEST_F(OutputErrors, LibraryIntoAMissingFolder) {
  expect_error(compile(out_ + "/no/a.so"), {"--output", out_ + "/no", "does not exist"});
  EXPECT_EQ(place_.list("out"), Names{});
}

TEST_F(OutputErrors, SuffixOfAnotherSystem) {
  const std::string wasm = out_ + "/a.wasm", so = out_ + "/a.so";
  expect_error(compile_for({"vulkan"}, wasm),
               {"--output", wasm, "webgpu or cpu-wasm", "--device says vulkan"});
  expect_error(compile_for({"vulkan", "--host", "wasm32-wasi"}, so),
               {"--host", "webgpu or cpu-wasm", "vulkan"});
  expect_error(compile_for({"cpu", "--host", "x86_64-linux-gnu"}, wasm),
               {"--output", wasm, "--host", "x86_64-unknown-linux-gnu", ".so"});
  expect_error(compile_for({"cpu-wasm"}, so), {"--output", so, "expected a name ending in .wasm"});
  EXPECT_EQ(place_.list("out"), Names{});
}

TEST_F(OutputErrors, DevicesAreNotReplacedByFiles) {
  std::string pipe = out_ + "/pipe.so";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error(compile(pipe), {pipe, "not a regular file"});
  struct stat info{};
  ASSERT_EQ(::stat(pipe.c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
  EXPECT_EQ(place_.list("out"), Names{"pipe.so"});
}

TEST_F(OutputErrors, FullDisk) {
  std::string temporary = place_.make_folder("temporary");
  CommandOptions full{.environment = {{"MLC_TEMP_DIR", temporary}}, .file_limit = 4096};
  expect_error(compile(out_ + "/a.so", full), {"cannot write", "File too large"});
  EXPECT_EQ(place_.list("out"), Names{});
  EXPECT_EQ(place_.list("temporary"), Names{});
  expect_error(convert(out_ + "/weights", full), {"params_shard_0.bin", "cannot write", "File too large"});
  for (const std::string& name : place_.list("out")) {
    EXPECT_EQ(name.find("params_shard"), std::string::npos) << name;
    EXPECT_EQ(name.find("tensor-cache"), std::string::npos) << name;
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
  }
  expect_error(gen_config(out_ + "/config", full), {"tokenizer", "cannot write", "File too large"});
  for (const std::string& name : place_.list("out")) {
    EXPECT_EQ(name.find("mlc-chat-config"), std::string::npos) << name;
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
  }
}

TEST_F(OutputErrors, FullStandardOutput) {
  CommandOptions full{.output = "/dev/full"};
  expect_error(run_mlc_llm({"info", folder_}, full), {"standard output: cannot write"});
  std::string library = testing::compiled(place_, folder_, "a.so");
  expect_error(run_mlc_llm({"chat", folder_, "--model-lib", library, "--prompt", "hi"}, full),
               {"standard output: cannot write"});
  expect_error(run_mlc_llm({"bench", folder_, "--model-lib", library, "--prefill", "4", "--decode", "2",
                            "--repeat", "1", "--json"},
                           full),
               {"standard output: cannot write"});
}

TEST_F(OutputErrors, FoldersWhereFilesStand) {
  std::string file = place_.write("out/file", "x");
  expect_error(convert(file), {file});
  expect_error(gen_config(file), {file});
  expect_error(convert(file + "/deeper"), {file});
  EXPECT_EQ(place_.list("out"), Names{"file"});
  EXPECT_EQ(read_file(file).value(), "x");
}

TEST_F(OutputErrors, ReadOnlyFolder) {
  if (::geteuid() == 0) {  // root may write anywhere but where the kernel itself refuses
    expect_error(convert("/proc/mlc"), {"/proc/mlc"});
    expect_error(gen_config("/proc/mlc"), {"/proc/mlc"});
    expect_error(compile("/proc/a.so"), {"/proc/a.so", "cannot create"});
    return;
  }
  ::chmod(out_.c_str(), 0555);
  expect_error(convert(out_ + "/w"), {out_, "ermission denied"});
  expect_error(gen_config(out_ + "/w"), {out_, "ermission denied"});
  expect_error(compile(out_ + "/a.so"), {"a.so", "cannot create", "ermission denied"});
  EXPECT_EQ(place_.list("out"), Names{});
}

TEST_F(OutputErrors, CacheThatCannotBeWritten) {
  std::string file = place_.write("file", "x");
  CommandOptions options{.environment = {{"MLC_LLM_HOME", file}}};
  expect_error(run_mlc_llm({"chat", folder_, "--prompt", "x"}, options), {file, "MLC_LLM_HOME"});
  expect_error(run_mlc_llm({"chat", checkpoint_, "--prompt", "x"}, options), {file, "MLC_LLM_HOME"});
}

TEST_F(OutputErrors, DebugDumpWhereAFileStands) {
  std::string file = place_.write("file", "x");
  expect_error(run_mlc_llm({"compile", folder_, "-o", out_ + "/a.so", "--debug-dump", file}),
               {"--debug-dump", file});
  EXPECT_EQ(place_.list("out"), Names{});
}

TEST_F(OutputErrors, AMistakeFoundLateLeavesNothing) {
  // No chat template anywhere: found once the tokenizer has been read.
  std::string bare = testing::toy_checkpoint(place_, "bare");
  ::unlink((bare + "/chat_template.jinja").c_str());
  Outcome o =
      run_mlc_llm({"chat", bare, "--prompt", "x"}, {.environment = {{"MLC_LLM_HOME", place_.path("home")}}});
  expect_error(o, {"--conv-template", "chatml"});
  EXPECT_EQ(place_.list("home/model_weights/local"), Names{});
  o = run_mlc_llm({"chat", bare, "--conv-template", "chatml", "--prompt", "x"},
                  {.environment = {{"MLC_LLM_HOME", place_.path("home")}}});
  EXPECT_EQ(o.exit_code, 0) << o.err;
}

}  // namespace
}  // namespace mlc
