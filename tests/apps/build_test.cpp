// The commands of MLC LLM's document of June 2023 (docs/compilation/compile_models.rst): models x targets x
// quantizations, on toys of those shapes, and the tree that each leaves.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "support/command.h"
#include "support/hub_server.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::Outcome;

struct Row {
  const char* model;              // as the document names it
  const char* toy;                // of its shape
  const char* target;             // --target
  const char* quantization;       // --quantization
  std::vector<std::string> more;  // further flags
  const char *label, *suffix;     // of the library's file name
};

// Rows of rwkv-raven follow when q8f16_0, which it is built in, is an output.
const std::vector<Row>& rows() {
  static const char *kRedPajama = "RedPajama-INCITE-Chat-3B-v1", *kVicuna = "vicuna-v1-7b";
  static const std::vector<Row> table = {
      {kRedPajama, "gpt_neox", "metal", "q4f16_0", {}, "metal", ".so"},
      {kRedPajama, "gpt_neox", "metal_x86_64", "q4f16_0", {}, "metal_x86_64", ".dylib"},
      {kRedPajama, "gpt_neox", "cuda", "q4f16_0", {}, "cuda", ".so"},
      {kRedPajama, "gpt_neox", "vulkan", "q4f16_0", {}, "vulkan", ".so"},
      {kRedPajama, "gpt_neox", "vulkan", "q4f16_0", {"--llvm-mingw", "path/to/llvm-mingw"}, "vulkan", ".dll"},
      {kRedPajama, "gpt_neox", "iphone", "q4f16_0", {"--max-seq-len", "64"}, "iphone", ".tar"},
      {kRedPajama, "gpt_neox", "android", "q4f16_0", {"--max-seq-len", "64"}, "android", ".tar"},
      {kRedPajama, "gpt_neox", "llvm", "q4f16_0", {}, "cpu", ".so"},
      {kRedPajama, "gpt_neox", "webgpu", "q4f16_0", {}, "webgpu", ".wasm"},
      {kVicuna, "llama", "llvm", "q4f32_0", {}, "cpu", ".so"},
      {kVicuna, "llama", "metal", "q3f16_0", {}, "metal", ".so"},
      {kVicuna, "llama", "android", "q4f16_0", {"--max-seq-len", "64"}, "android", ".tar"},
      {kVicuna, "llama", "opencl", "q4f16_0", {}, "opencl", ".so"},
      {kVicuna, "llama", "auto", "q0f16", {}, "", ".so"},
  };
  return table;
}

class Build : public ::testing::Test {
 protected:
  Outcome build(std::vector<std::string> words, std::map<std::string, std::string> environment = {}) {
    words.insert(words.begin(), "build");
    return testing::run_mlc_llm(words, {.environment = environment, .directory = place.path("")});
  }
  void add_model(const std::string& name, const std::string& toy) {
    std::filesystem::create_directories(place.path("dist/models"));
    testing::toy_checkpoint(place, "dist/models/" + name, toy);
  }
  bool has(const std::string& file) const { return file_exists(place.path("dist/" + file)); }
  int64_t written(const std::string& file) const {
    return std::filesystem::last_write_time(place.path("dist/" + file)).time_since_epoch().count();
  }
  testing::Workplace place;
};

TEST_F(Build, EveryCommandOfTheDocumentLeavesItsTree) {
  add_model("RedPajama-INCITE-Chat-3B-v1", "gpt_neox");
  add_model("vicuna-v1-7b", "llama");
  for (const Row& row : rows()) {
    std::vector<std::string> words = {"--model",  row.model,        "--target",
                                      row.target, "--quantization", row.quantization};
    words.insert(words.end(), row.more.begin(), row.more.end());
    const std::string id = std::string(row.model) + "-" + row.quantization,
                      told = ::testing::PrintToString(words);
    Outcome o = build(words);
    ASSERT_EQ(o.exit_code, 0) << told << "\n" << o.err;
    if (*row.label) {
      EXPECT_TRUE(has(id + "/" + id + "-" + row.label + row.suffix)) << told;
      EXPECT_TRUE(has(id + "/mod_cache_before_build_" + row.label + ".pkl")) << told;
    }
    for (const char* file : {"mlc-chat-config.json", "ndarray-cache.json", "params_shard_0.bin",
                             "tokenizer.json", "tokenizer_config.json"})
      EXPECT_TRUE(has(id + "/params/" + file)) << told << " " << file;
    Json config = read_json_file(place.path("dist/" + id + "/params/mlc-chat-config.json")).value();
    EXPECT_EQ(config["model_lib"], id);
    EXPECT_EQ(config["local_id"], id);
    const std::string code = row.quantization;
    EXPECT_EQ(config["quantization"], code == "q4f16_0" || code == "q3f16_0" ? code + "_2023" : code);
    EXPECT_EQ(config["conv_template"]["name"],
              row.toy == std::string("llama") ? "vicuna_v1.1" : "redpajama_chat");
    if (!row.more.empty() && row.more[0] == "--max-seq-len") {
      EXPECT_EQ(config["context_window_size"], 64) << told;
    }
  }
}

TEST_F(Build, KeepsWhatIsUnchanged) {
  add_model("m", "llama");
  const std::vector<std::string> command = {"--target", "llvm", "--quantization", "q4f16_1"};
  ASSERT_EQ(build(command).exit_code, 0);
  const std::string shard = "m-q4f16_1/params/params_shard_0.bin", library = "m-q4f16_1/m-q4f16_1-cpu.so";
  const int64_t weights = written(shard), code = written(library);
  Outcome again = build(command);
  EXPECT_NE(again.out.find("m-q4f16_1/params: unchanged, kept"), std::string::npos) << again.out;
  EXPECT_EQ(written(shard), weights);
  EXPECT_EQ(written(library), code);
  // Another target takes the weights that are there; another length makes another library.
  EXPECT_EQ(build({"--target", "opencl", "--quantization", "q4f16_1"}).exit_code, 0);
  EXPECT_EQ(written(shard), weights);
  EXPECT_EQ(build({"--target", "llvm", "--quantization", "q4f16_1", "--max-seq-len", "32"}).exit_code, 0);
  EXPECT_EQ(written(shard), weights);
  EXPECT_NE(written(library), code);
  EXPECT_EQ(build({"--target", "llvm", "--quantization", "q4f16_1", "--use-cache=0"}).exit_code, 0);
  EXPECT_NE(written(shard), weights);
  // A file of another tool under the cache's name is no reason to fail, or to skip.
  place.write("dist/m-q4f16_1/mod_cache_before_build_cpu.pkl", std::string("\x80\x04pickle\0", 9));
  EXPECT_EQ(build(command).exit_code, 0);
  EXPECT_EQ(build({"--convert-weights-only", "--quantization", "q0f16"}).exit_code, 0);
  EXPECT_FALSE(has("m-q0f16/m-q0f16-cpu.so"));
  EXPECT_EQ(build({"--reuse-lib", "x-q0f16", "--quantization", "q0f16"}).exit_code, 0);
  EXPECT_EQ(read_json_file(place.path("dist/m-q0f16/params/mlc-chat-config.json")).value()["model_lib"],
            "x-q0f16");
}

TEST_F(Build, HfPathIsDownloadedOnce) {
  testing::toy_checkpoint(place, "source");
  std::map<std::string, std::string> files;
  for (const std::string& name : place.list("source"))
    files[name] = read_file(place.path("source/" + name)).value();
  testing::HubServer hub;
  hub.add_repo("user/toy", files);
  const std::vector<std::string> command = {"--hf-path", "user/toy", "--target", "llvm",
                                            "--convert-weights-only"};
  Outcome o = build(command, {{"HF_ENDPOINT", hub.url()}});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_TRUE(has("models/toy/model.safetensors"));
  EXPECT_TRUE(has("toy-q4f16_1/params/ndarray-cache.json"));
  EXPECT_EQ(build(command, {{"HF_ENDPOINT", "http://127.0.0.1:9"}}).exit_code, 0);  // offline
}

TEST_F(Build, MlcChatCliFindsWhatWasBuilt) {
  add_model("m", "llama");
  ASSERT_EQ(build({"--target", "llvm"}).exit_code, 0);
  ASSERT_EQ(build({"--convert-weights-only", "--quantization", "q0f16"}).exit_code, 0);
  auto cli = [&](std::vector<std::string> words, const std::string& input) {
    words.insert(words.begin(), "mlc_chat_cli");
    return testing::run_mlc_llm(
        words,
        {.input = input, .environment = {{"MLC_LLM_HOME", place.path("home")}}, .directory = place.path("")});
  };
  Outcome o = cli({"--local-id", "m-q4f16_1", "--device-name", "cpu"},
                  "Hello\n/stats\n/reset\n/reload\n/help\n/exit\n");
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_NE(o.out.find("Use model library: dist/m-q4f16_1/m-q4f16_1-cpu.so"), std::string::npos) << o.out;
  for (const char* part : {"prefill: ", "/reload [local_id]"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part << "\n" << o.out;
  EXPECT_EQ(o.err.find("compiling"), std::string::npos) << o.err;
  Outcome other = cli({"--model", "m", "--quantization", "q4f16_1"}, "/reload m-q0f16\n/exit\n");
  EXPECT_EQ(other.exit_code, 0) << other.err;
  EXPECT_NE(other.out.find("dist/m-q0f16/params/mlc-chat-config.json"), std::string::npos) << other.out;
  expect_error(cli({"--local-id", "x"}, ""), {"--local-id: no mlc-chat-config.json for 'x'"});
  expect_error(cli({"--model", "x"}, ""), {"--model: no build of x in dist"});
  expect_error(cli({"--local-id", "m-q4f16_1"}, "/reload x\n"), {"no mlc-chat-config.json for 'x'"});
  expect_error(cli({"--evaluate"}, ""), {"--evaluate: ", "mlc_llm bench"});
}

TEST_F(Build, MistakesAreOneSentence) {
  place.make_folder("dist");
  expect_error(build({}), {"--model: no model in dist/models"});
  expect_error(build({"--model", "absent"}), {"--model: no folder absent and no folder dist/models/absent"});
  add_model("m", "llama");
  expect_error(build({"--quantization", "q9f16_0"}), {"q9f16_0"});
  expect_error(build({"--target", "vulcan"}), {"--target: ", "did you mean 'vulkan'?"});
  expect_error(build({"--reuse-lib", "x-q3f16_1"}), {"--reuse-lib: 'x-q3f16_1' is not for q4f16_1"});
  expect_error(build({"--debug-load-script"}), {"--debug-load-script: "});
  expect_error(build({"--model", "x", "--hf-path", "user/y"}), {"--model: found 'x', expected 'y'"});
  Outcome noted = build({"--convert-weights-only", "--cc-path", "cc", "--no-cublas"});
  EXPECT_EQ(noted.exit_code, 0);
  EXPECT_NE(noted.err.find("note: --cc-path: not needed"), std::string::npos) << noted.err;
  EXPECT_NE(noted.err.find("note: --no-cublas: not needed"), std::string::npos) << noted.err;
  expect_error(build({"--model", "dist/m-q4f16_1/params"}), {"--model: ", "is built already"});
}

}  // namespace
}  // namespace mlc
