// The runtime in WebAssembly, in Node (session.mjs): what it computes and answers is what this process does
// with the same model compiled for the plainest x86-64, and whatever goes wrong is a sentence.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "chat/template/chat_template.h"
#include "formats/shards.h"
#include "runtime/devices/registry.h"
#include "serve/engine.h"
#include "support/command.h"
#include "support/web_session.h"

namespace mlc::testing {
namespace {

template <typename T>
T must(Result<T> result) {
  EXPECT_TRUE(result.is_ok()) << result.status().message();
  return std::move(result).value();
}

class WebRuntime : public ::testing::Test {
 protected:
  void SetUp() override {
    check_web_runtime_is_here();
    folder = converted(place, toy_checkpoint(place), "q4f16_1", "model");
    remove_end_tokens(folder);
    std::filesystem::copy_file(compiled(place, folder, "made.wasm", {"--host", "wasm32-unknown-unknown"}),
                               folder + "/model.wasm");
  }

  Json session(const Json& steps) { return run_web_session(place.path(""), steps); }
  static void expect_error(const Json& outcome, const std::vector<std::string>& words) {
    const std::string said = outcome.value("error", "no error: " + outcome.dump());
    for (const std::string& word : words) EXPECT_NE(said.find(word), said.npos) << word << " in: " << said;
    EXPECT_EQ(said.find('\n'), said.npos) << said;
  }

  Workplace place;
  std::string folder;
  const Json kOpen = {{"folder", "model"}, {"library", "model/model.wasm"}, {"context_window_size", 64}};
};

// The same model in this process.
struct Native {
  Native(const Workplace& place, const std::string& folder) {
    device = must(runtime::open_device("cpu", {.threads = 1}));
    module = must(
        runtime::Module::load(*device, compiled(place, folder, "made.so", {"--host", "x86_64-generic"})));
    model = must(runtime::Model::load(*device, module, folder, {.context_tokens = 64}));
    tokenizer = must(Tokenizer::load(folder));
  }
  std::vector<float> forward(std::span<const int32_t> tokens, bool anew) {
    if (anew) {
      EXPECT_TRUE(model->sequences().add(1).is_ok());
    }
    const runtime::StepSequence step{.id = 1, .tokens = tokens};
    auto logits = model->step({&step, 1}, runtime::WantLogits::kLast);
    EXPECT_TRUE(logits.is_ok()) << logits.status().message();
    return {logits->begin(), logits->end()};
  }
  runtime::DevicePtr device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<runtime::Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
};

TEST_F(WebRuntime, LogitsAreTheNativeOnesToTheBit) {
  const std::vector<std::vector<int32_t>> steps = {{5, 17, 3, 42, 8, 9, 101}, {7}, {200}, {31}};
  Json asked = {{{"start", Json::object()}}, {{"open", kOpen}}};
  for (size_t i = 0; i < steps.size(); ++i)
    asked.push_back({{"forward", {{"tokens", steps[i]}, {"anew", i == 0}}}});
  const Json outcomes = session(asked);
  EXPECT_EQ(web_value(outcomes[1])["variant"], "wasm32-simd128");
  Native native(place, folder);
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::vector<float> got = floats_of(web_value(outcomes[i + 2]).get<std::string>());
    ASSERT_EQ(got.size(), static_cast<size_t>(native.model->vocab_size()));
    EXPECT_EQ(got, native.forward(steps[i], i == 0)) << i;
  }
}

TEST_F(WebRuntime, AnswersAreTheNativeOnes) {
  const Json body = {{"messages", {{{"role", "user"}, {"content", "What is a map?"}}}},
                     {"temperature", 0},
                     {"max_tokens", 12},
                     {"logprobs", true},
                     {"top_logprobs", 2}};
  const Json outcomes = session({{{"start", Json::object()}}, {{"open", kOpen}}, {{"request", body}}});
  Json answer = web_value(outcomes[2]);
  std::vector<int32_t> tokens;
  std::string text;
  for (Json& update : answer["updates"]) {
    text += update["text"].get<std::string>();
    if (update["token"] < 0) continue;
    tokens.push_back(update["token"]);
    EXPECT_EQ(update["top_logprobs"].size(), 2u) << update.dump();
  }
  EXPECT_EQ(answer["updates"].back()["finish_reason"], "length");
  EXPECT_EQ(answer["updates"].back()["usage"]["completion_tokens"], 12);

  Native native(place, folder);
  const Json config = must(read_json_file(folder + "/mlc-chat-config.json"));
  const ChatTemplate chat =
      must(ChatTemplate::create(must(Conversation::from_json(config["conv_template"], "config")), "config"));
  serve::Engine engine(*native.model, native.tokenizer);
  serve::Request request{.id = 1, .prompt = must(chat.encode(body["messages"], *native.tokenizer))};
  request.config.temperature = 0;
  request.config.max_tokens = 12;
  std::vector<int32_t> expected;
  std::string expected_text;
  request.on_update = [&](const serve::StreamUpdate& u) {
    if (u.token >= 0) expected.push_back(u.token);
    expected_text += u.text;
  };
  EXPECT_EQ(answer["updates"].back()["usage"]["prompt_tokens"], request.prompt.size());
  ASSERT_TRUE(engine.add_request(std::move(request)).is_ok());
  while (engine.step()) {
  }
  EXPECT_EQ(tokens, expected);
  EXPECT_EQ(text, expected_text);
}

TEST_F(WebRuntime, SeveralRequestsAreAnsweredTogether) {
  const auto body = [](const char* text) {
    return Json{{"prompt", text}, {"temperature", 0}, {"max_tokens", 8}};
  };
  Json open = kOpen;
  open["max_batch_size"] = 2;
  const Json outcomes = session({{{"engine", {{"open", open}}}},
                                 {{"complete_all", {body("One two"), body("Three"), body("Four five six")}}},
                                 {{"complete", body("Three")}}});
  Json all = web_value(outcomes[1]);
  ASSERT_EQ(all.size(), 3u);
  for (Json& one : all) EXPECT_EQ(web_value(one)["tokens"].size(), 8u);
  EXPECT_EQ(web_value(all[1])["tokens"], web_value(outcomes[2])["tokens"]);
}

TEST_F(WebRuntime, WeightsComeOnceAndTensorByTensor) {
  const Json outcomes =
      session({{{"start", Json::object()}}, {{"open", kOpen}}, {{"files", nullptr}}, {{"memory", nullptr}}});
  web_value(outcomes[1]);
  Json counts = web_value(outcomes[2]);
  const auto shards = must(Shards::open(folder));
  int64_t largest = 0, whole = 0;
  for (const ShardRecord& shard : shards->index().shards) {
    int64_t records = 0;
    for (const TensorRecord& t : shard.tensors) {
      largest = std::max(largest, t.size);
      records += t.size;
    }
    whole = std::max(whole, shard.size);
    EXPECT_EQ(counts["bytes"]["model/" + shard.file], records) << shard.file;
  }
  ASSERT_GT(whole, 2 * largest);  // else this shows nothing
  const auto others = must(file_size(folder + "/model.wasm")),
             tokens = must(file_size(folder + "/tokenizer.json"));
  EXPECT_LE(counts["largest"], std::max({largest, others, tokens}));
}

TEST_F(WebRuntime, ATrapIsASentenceAndANewInstanceServes) {
  const Json body = {{"prompt", "One two"}, {"temperature", 0}, {"max_tokens", 8}};
  const Json outcomes = session({{{"engine", {{"open", kOpen}}}},
                                 {{"complete", body}},
                                 {{"complete_in_ruins", body}},
                                 {{"instances", nullptr}},
                                 {{"complete", body}},
                                 {{"instances", nullptr}}});
  expect_error(outcomes[2], {"the runtime ended"});
  EXPECT_EQ(web_value(outcomes[3]), 1);
  EXPECT_EQ(web_value(outcomes[4])["tokens"], web_value(outcomes[1])["tokens"]);
  EXPECT_EQ(web_value(outcomes[5]), 2);
}

// 18 MB hold the program and this model, and not what it makes of long texts: allocations that fail are an
// abort() in C++ and a panic in the text library.
TEST_F(WebRuntime, MemoryThatDoesNotSufficeEndsOneInstanceAlone) {
  std::string words;
  for (int i = 0; i < 750'000; ++i) words += "a b ";
  const Json little = {{"maximumBytes", 18 << 20}};
  const Json outcomes = session({{{"start", little}},
                                 {{"open", kOpen}},
                                 {{"request", {{"prompt", words}}}},
                                 {{"open", kOpen}},
                                 {{"start", little}},
                                 {{"open", kOpen}},
                                 {{"request", {{"prompt", std::string(6'000'000, 'x')}}}},
                                 {{"start", Json::object()}},
                                 {{"open", kOpen}},
                                 {{"forward", {{"tokens", {5}}, {"anew", true}}}}});
  web_value(outcomes[1]);
  expect_error(outcomes[2], {"the runtime ended"});
  expect_error(outcomes[3], {"has ended; start another"});
  expect_error(outcomes[6], {"the runtime ended"});
  web_value(outcomes[9]);
}

// Lengths that 32 bits would cut.
TEST_F(WebRuntime, FilesBeyondTheAddressesAreRefused) {
  const int64_t more = (int64_t{1} << 32) + 100;
  const Json outcomes = session({{{"start", Json::object()}},
                                 {{"claim_bytes", {{"model/mlc-chat-config.json", more}}}},
                                 {{"open", kOpen}},
                                 {{"claim_bytes", {{"model/model.wasm", more}}}},
                                 {{"open", kOpen}},
                                 {{"claim_bytes", {{"model/params_shard_0.bin", more}}}},
                                 {{"open", kOpen}},
                                 {{"claim_bytes", Json::object()}},
                                 {{"open", kOpen}}});
  expect_error(outcomes[2], {"mlc-chat-config.json", std::to_string(more), "addresses"});
  expect_error(outcomes[4], {"model.wasm", std::to_string(more), "addresses"});
  expect_error(outcomes[6], {"params_shard_0.bin", std::to_string(more), "the index says"});
  web_value(outcomes[8]);
}

TEST_F(WebRuntime, WrongInputsAreSentences) {
  const auto open = [&](const char* key, const Json& v) {
    Json options = kOpen;
    options[key] = v;
    return Json{{"open", options}};
  };
  const auto ask = [](const Json& body) { return Json{{"request", body}}; };
  const std::string library = must(read_file(folder + "/model.wasm"));
  place.write("short.wasm", library.substr(0, library.size() / 2));
  std::string damaged = library;
  damaged[library.size() / 3] ^= 4;
  place.write("damaged.wasm", damaged);
  compiled(place, folder, "made.so", {"--host", "x86_64-generic"});
  const Json outcomes = session({
      {{"start", Json::object()}},
      ask({{"prompt", "x"}}),
      open("folder", "nothing"),
      open("library", "model/none.wasm"),
      open("library", "short.wasm"),
      open("library", "damaged.wasm"),
      open("library", "made.so"),
      open("device", "vulkan"),
      open("context_window", 64),
      open("context_window_size", "long"),
      {{"fail_reads_of", "params_shard_0"}},
      {{"open", kOpen}},
      {{"fail_reads_of", ""}},
      {{"open", kOpen}},
      ask({{"messages", Json::array()}}),
      ask({{"prompt", "x"}, {"temperature", -1}}),
      ask({{"prompt", "x"}, {"n", 2}}),
      ask({{"prompt", "x"}, {"response_format", {{"type", "json_object"}}}}),
      {{"forward", {{"tokens", {1 << 20}}}}},
      {{"forward", {{"tokens", Json::array()}}}},
      ask({{"prompt", "x"}, {"max_tokens", 1}}),
  });
  expect_error(outcomes[1], {"no model is open"});
  expect_error(outcomes[2], {"nothing/mlc-chat-config.json"});
  expect_error(outcomes[3], {"model/none.wasm"});
  expect_error(outcomes[4], {"short.wasm", "not a model library"});
  expect_error(outcomes[5], {"damaged.wasm", "checksum"});
  expect_error(outcomes[6], {"made.so", "ELF", "wasm"});
  expect_error(outcomes[7], {"--device", "vulkan"});
  expect_error(outcomes[8], {"context_window", "did you mean", "context_window_size"});
  expect_error(outcomes[9], {"context_window_size", "\"long\"", "number above 0"});
  expect_error(outcomes[11], {"params_shard_0.bin", "cannot read"});
  web_value(outcomes[13]);
  expect_error(outcomes[14], {"messages", "at least one message"});
  expect_error(outcomes[15], {"temperature", "-1"});
  expect_error(outcomes[16], {"n:", "2"});
  expect_error(outcomes[17], {"response_format", "without grammars"});
  expect_error(outcomes[18], {"token 1048576"});
  expect_error(outcomes[19], {"0 tokens"});
  EXPECT_EQ(web_value(outcomes[20])["updates"].back()["finish_reason"], "length");
}

}  // namespace
}  // namespace mlc::testing
