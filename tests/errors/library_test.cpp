// What chat says of libraries that it cannot run, and of weights that do not fit them.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/file.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::Outcome;
using testing::run_mlc_llm;

// One converted toy and its library for all tests here.
class LibraryErrors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    place_ = new testing::Workplace;
    checkpoint_ = testing::toy_checkpoint(*place_);
    folder_ = testing::converted(*place_, checkpoint_, "q4f16_1", "q4");
    library_ = testing::compiled(*place_, folder_, "q4.so", {"--host", "x86_64-unknown-linux-gnu"});
  }
  static void TearDownTestSuite() { delete place_; }

  static Outcome chat(const std::string& folder, const std::string& library,
                      const std::map<std::string, std::string>& env = {}) {
    return run_mlc_llm({"chat", folder, "--model-lib", library, "--prompt", "hi"}, {.environment = env});
  }
  // A copy of the library with something done to its bytes.
  static std::string changed(const std::function<void(std::string&)>& change) {
    std::string bytes = read_file(library_).value();
    change(bytes);
    return place_->write("changed.so", bytes);
  }

  static inline testing::Workplace* place_ = nullptr;
  static inline std::string checkpoint_, folder_, library_;
};

TEST_F(LibraryErrors, WeightsOfAnotherQuantization) {
  std::string other = testing::converted(*place_, checkpoint_, "q0f16", "q0");
  Outcome o = chat(other, library_);
  expect_error(o, {"tensor-cache.json", ".q_weight'", "is missing", "q4.so", "quantization q4f16_1",
                   "did you mean 'model.", ".weight'"});
}

TEST_F(LibraryErrors, WeightsOfAnotherModel) {
  std::string other =
      testing::converted(*place_, testing::toy_checkpoint(*place_, "neox", "gpt_neox"), "q4f16_1", "neox-q4");
  expect_error(chat(other, library_), {"tensor-cache.json", "q4.so", "model_type llama"});
}

// Trees are refused where a model's rows cannot be one, and the library that was there stays.
TEST_F(LibraryErrors, TreesOfAModelThatKnowsOnePast) {
  const std::string library = place_->write("kept.so", "as it was");
  const Outcome o = run_mlc_llm({"compile", folder_, "--device", "cpu", "--tree-verify", "-o", library,
                                 "--overrides", "sliding_window_size=64;attention_sink_size=4"});
  expect_error(o, {"--tree-verify", "llama", "its sliding window drops tokens", "leave the flag out"});
  EXPECT_EQ(read_file(library).value(), "as it was");
  EXPECT_EQ(run_mlc_llm({"compile", folder_, "--device", "cpu", "--tree-verify", "-o", library}).exit_code,
            0);
}

TEST_F(LibraryErrors, WeightsOfAnotherShape) {
  std::string config = place_->path("small/mlc-chat-config.json");
  testing::converted(*place_, checkpoint_, "q4f16_1", "small");
  std::string text = read_file(config).value();
  for (size_t at; (at = text.find("\"intermediate_size\": 200")) != std::string::npos;)
    text.replace(at, 24, "\"intermediate_size\": 224");
  place_->write("small/mlc-chat-config.json", text);
  std::string library = testing::compiled(*place_, place_->path("small"), "small.so");
  expect_error(chat(folder_, library),
               {"tensor-cache.json", "tensor 'model.layers.0.mlp.", "is uint32 [", "expects uint32 ["});
}

TEST_F(LibraryErrors, FolderWithoutWeights) {
  std::string empty = place_->make_folder("only-config");
  place_->write("only-config/mlc-chat-config.json", read_file(folder_ + "/mlc-chat-config.json").value());
  place_->write("only-config/tokenizer.json", read_file(folder_ + "/tokenizer.json").value());
  expect_error(chat(empty, library_), {"only-config", "tensor-cache.json", "convert_weight"});
}

TEST_F(LibraryErrors, ShardCutShort) {
  std::string cut = testing::converted(*place_, checkpoint_, "q4f16_1", "cut");
  std::string shard = read_file(cut + "/params_shard_0.bin").value();
  place_->write("cut/params_shard_0.bin", shard.substr(0, shard.size() / 2));
  expect_error(chat(cut, library_), {"params_shard_0.bin", std::to_string(shard.size())});
}

TEST_F(LibraryErrors, OtherAbiVersion) {
  std::string library = changed([](std::string& bytes) {
    uint32_t version = 77;  // LibraryTrailer: the last 48 bytes, abi_version at 24
    std::memcpy(bytes.data() + bytes.size() - 48 + 24, &version, 4);
  });
  expect_error(chat(folder_, library),
               {"changed.so", "ABI version 77", "version 1", "compile the model again"});
}

TEST_F(LibraryErrors, CpuFeatureThatThisMachineLacks) {
  // A library for the best CPUs only, on a machine whose features are hidden.
  std::string library = testing::compiled(*place_, folder_, "avx2.so", {"--host", "x86_64-avx2"});
  Outcome o = chat(folder_, library, {{"MLC_CPU_FEATURES", "sse2"}});
  expect_error(o, {"avx2.so", "x86_64-avx2 needs CPU feature ", "compile the model again"});
}

TEST_F(LibraryErrors, OldCpuRunsTheVariantItCan) {
  Outcome o = chat(folder_, library_, {{"MLC_CPU_FEATURES", "sse2"}});
  EXPECT_EQ(o.exit_code, 0) << o.err;
}

TEST_F(LibraryErrors, OtherArchitecture) {
  std::string library =
      testing::compiled(*place_, folder_, "arm.so", {"--host", "aarch64-unknown-linux-gnu"});
  expect_error(chat(folder_, library), {"arm.so", "aarch64", "compile the model again"});
}

TEST_F(LibraryErrors, FlippedByte) {
  std::string library = changed([](std::string& bytes) { bytes[bytes.size() / 2] ^= 0x10; });
  expect_error(chat(folder_, library), {"changed.so", "damaged", "checksum", "compile the model again"});
}

TEST_F(LibraryErrors, CutShort) {
  for (size_t keep : {size_t{1}, size_t{40}, size_t{5000}}) {
    std::string library = changed([&](std::string& bytes) { bytes.resize(keep); });
    expect_error(chat(folder_, library),
                 {"changed.so", "not a model library", "cut short", "compile the model again"});
  }
}

TEST_F(LibraryErrors, NotALibrary) {
  expect_error(chat(folder_, place_->write("notes.txt", "some text\n")),
               {"notes.txt", "not a model library"});
  expect_error(chat(folder_, place_->write("empty.so", "")), {"empty.so", "not a model library"});
  expect_error(chat(folder_, place_->path("missing.so")), {"missing.so", "No such file"});
  expect_error(chat(folder_, folder_), {"q4", "not a regular file"});
  expect_error(chat(folder_, testing::mlc_llm_path()), {"mlc_llm", "not a model library"});
}

TEST_F(LibraryErrors, InfoSaysTheSame) {
  std::string library = changed([](std::string& bytes) { bytes[100] ^= 1; });
  Outcome o = run_mlc_llm({"info", library});
  expect_error(o, {"changed.so", "damaged"});
  EXPECT_EQ(o.out, "");
}

TEST_F(LibraryErrors, OverridesThatTheLibraryCannotFollow) {
  auto overrides = [&](const std::string& text) {
    return run_mlc_llm({"chat", folder_, "--model-lib", library_, "--prompt", "hi", "--overrides", text});
  };
  expect_error(overrides("opt=O0"), {"--overrides: opt=O0", "compiled with O2"});
  expect_error(overrides("context_window_size=4096"), {"context_window_size 4096", "256", "q4.so"});
  expect_error(overrides("prefill_chunk_size=4096"), {"prefill_chunk_size=4096", "256", "q4.so"});
  expect_error(overrides("sliding_window_size=64"), {"sliding_window_size=64", "compiled with -1"});
}

}  // namespace
}  // namespace mlc
