// Embeddings through the API, of an encoder and a decoder at toy size: vectors against transformers' hidden
// states, alone and many at once, every field and mistake.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "chat/tokenizer/tokenizer_json.h"
#include "support/npy.h"
#include "support/toy_service.h"
#include "weights/sentence_transformers.h"

namespace mlc::serve::openai {
namespace {

using testing::Collected;
using testing::LoadedModel;
using testing::must;
using testing::read_npy;
using testing::TempFolder;
using testing::toy_file;
using testing::ToyService;

constexpr const char* kPath = "/v1/embeddings";

// Texts of a batch that transformers computed, and the hidden states of each.
struct Truth {
  std::vector<std::vector<int32_t>> texts;
  std::vector<std::vector<float>> states;
  size_t hidden = 0;

  explicit Truth(const std::string& toy) {
    const auto ids = read_npy(toy_file(toy, "batch_tokens.npy")),
               mask = read_npy(toy_file(toy, "batch_mask.npy")),
               all = read_npy(toy_file(toy, "batch_last_hidden_fp32.npy"));
    const auto length = static_cast<size_t>(ids.shape[1]);
    hidden = static_cast<size_t>(all.shape[2]);
    for (size_t i = 0; i < ids.ints.size(); ++i) {
      if (i % length == 0) texts.emplace_back(), states.emplace_back();
      if (mask.ints[i] == 0) continue;
      texts.back().push_back(ids.ints[i]);
      const auto row = all.floats.begin() + static_cast<std::ptrdiff_t>(i * hidden);
      states.back().insert(states.back().end(), row, row + static_cast<std::ptrdiff_t>(hidden));
    }
  }
  // Pooled by hand; `dimensions` of it, to length 1 where `unit`.
  std::vector<double> expected(size_t text, const std::string& pooling, size_t dimensions, bool unit) const {
    const std::vector<float>& rows = states[text];
    const size_t count = rows.size() / hidden;
    std::vector<double> result(dimensions);
    double squares = 0;
    for (size_t i = 0; i < dimensions; ++i) {
      for (size_t row = 0; row < count; ++row)
        result[i] += pooling == "mean" ? rows[row * hidden + i] / static_cast<double>(count)
                     : row == (pooling == "cls" ? 0 : count - 1) ? rows[row * hidden + i]
                                                                 : 0;
      squares += result[i] * result[i];
    }
    for (double& value : result) value /= unit ? std::sqrt(squares) : 1;
    return result;
  }
};

// A toy that gives embeddings behind the API, with or without a model that writes beside it.
struct Embeddings {
  TempFolder folder;
  LoadedModel model;
  std::unique_ptr<Service> service;

  Embeddings(const std::string& toy, EmbeddingForm form, int64_t chunk = 0, ApiLimits limits = {}) {
    const auto source = must(weights::open_source({.config = toy_file(toy, ""), .with_checkpoint = false}));
    testing::convert_checkpoint(toy_file(toy, ""), "q0f32", folder.path(), /*raw_f32=*/true);
    Json fields = source.config.fields;
    fields["max_batch_size"] = 8;
    testing::compile_to(
        folder.file("model.so"),
        {{"model_type", source.config.model_type}, {"quantization", "q0f32"}, {"model_config", fields}}, 0,
        {runnable_targets().front()});
    model = LoadedModel::load(
        must(runtime::open_device("cpu", {.threads = 2})), folder.file("model.so"), folder.path(),
        {.max_sequences = 4, .total_tokens = 128, .prefill_chunk = chunk, .deterministic = true});
    auto tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/source/bert"));
    std::vector<std::unique_ptr<ServedEmbedder>> served;
    served.push_back(std::make_unique<ServedEmbedder>(toy, *model.model, tokenizer, form));
    service = std::make_unique<Service>(
        std::vector<std::unique_ptr<ServedModel>>(), limits, [](const std::string&) {}, std::move(served));
  }
  Json ask(const char* path, const Json& body, int status = 200) {
    Collected collected;
    service->submit(path, json_text(body), collected.callback());
    const auto& replies = collected.all();
    if (replies.size() != 1 || replies[0].status != status)
      throw std::runtime_error(
          str(replies.size(), " replies, status ", replies[0].status, ": ", replies[0].text));
    return must(parse_json(replies[0].text, "answer"));
  }
  std::string refusal(const Json& body, int status = 400, const char* path = kPath) {
    return ask(path, body, status)["error"]["message"];
  }
};

void expect_near(const Json& got, const std::vector<double>& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i].get<double>(), expected[i], 1e-4) << what << ", " << i;
}

class EmbeddingToys : public ::testing::TestWithParam<std::string> {};

TEST_P(EmbeddingToys, VectorsAreTransformers) {
  const Truth truth(GetParam());
  const std::pair<const char*, Pooling> poolings[] = {
      {"cls", Pooling::kFirst}, {"mean", Pooling::kMean}, {"last", Pooling::kLast}};
  for (const auto& [name, pooling] : poolings) {
    Embeddings toy(GetParam(), {.pooling = pooling, .normalize = name != std::string("mean")});
    const bool unit = name != std::string("mean");
    const Json answer = toy.ask(kPath, {{"input", truth.texts}, {"model", "any"}});
    EXPECT_EQ(answer["object"], "list");
    EXPECT_EQ(answer["model"], GetParam());
    ASSERT_EQ(answer["data"].size(), truth.texts.size());
    size_t tokens = 0;
    for (size_t i = 0; i < truth.texts.size(); ++i) {
      const std::string what = str(name, ", text ", i);
      EXPECT_EQ(answer["data"][i]["index"], i);
      expect_near(answer["data"][i]["embedding"], truth.expected(i, name, truth.hidden, unit), what);
      const Json cut = toy.ask(kPath, {{"input", truth.texts[i]}, {"dimensions", 5}});
      expect_near(cut["data"][0]["embedding"], truth.expected(i, name, 5, unit), what + ", 5 of them");
      tokens += truth.texts[i].size();
    }
    EXPECT_EQ(answer["usage"]["prompt_tokens"], tokens);
    EXPECT_EQ(answer["usage"]["total_tokens"], tokens);
  }
}

TEST_P(EmbeddingToys, ManyAtOnceAreWhatTheyAreAlone) {
  Embeddings toy(GetParam(), {.pooling = Pooling::kMean});
  std::vector<std::vector<int32_t>> texts;
  std::vector<Json> alone;
  for (int i = 0; i < 20; ++i) {
    texts.emplace_back(static_cast<size_t>(1 + i * 7 % 50), 3 + i);
    texts.back().push_back(i + 1);
    alone.push_back(toy.ask(kPath, {{"input", texts.back()}})["data"][0]["embedding"]);
  }
  const Json together = toy.ask(kPath, {{"input", texts}});
  std::vector<std::unique_ptr<Collected>> calls;
  for (const auto& text : texts) {
    calls.push_back(std::make_unique<Collected>());
    toy.service->submit(kPath, json_text({{"input", text}}), calls.back()->callback());
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(together["data"][i]["embedding"], alone[i]) << i;
    EXPECT_EQ(must(parse_json(calls[i]->all()[0].text, "answer"))["data"][0]["embedding"], alone[i]) << i;
  }
  EXPECT_EQ(toy.model->sequences().used().pages[0], 0) << "a page is lost";
  EXPECT_EQ(toy.service->active(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Toys, EmbeddingToys, ::testing::Values("bert", "qwen3_embedding"),
                         [](const auto& info) { return info.param; });

// A decoder's text may be longer than a step.
TEST(EmbeddingService, LongTextsGoOnInTheNextStep) {
  const Truth truth("qwen3_embedding");
  Embeddings toy("qwen3_embedding", {.pooling = Pooling::kMean}, /*chunk=*/5);
  const Json answer = toy.ask(kPath, {{"input", truth.texts}});
  for (size_t i = 0; i < truth.texts.size(); ++i)
    expect_near(answer["data"][i]["embedding"], truth.expected(i, "mean", truth.hidden, true),
                str("text ", i));
}

TEST(EmbeddingService, TextsAndForms) {
  Embeddings toy("bert", {.pooling = Pooling::kFirst}, 0, {.embedding_inputs = 3});
  const Json one = toy.ask(kPath, {{"input", "a text"}}), list = toy.ask(kPath, {{"input", {"a text", "b"}}});
  EXPECT_EQ(one["data"][0], list["data"][0]);
  EXPECT_NE(list["data"][0]["embedding"], list["data"][1]["embedding"]);
  const std::string base64 =
      toy.ask(kPath, {{"input", "a text"}, {"encoding_format", "base64"}})["data"][0]["embedding"];
  std::vector<float> values;
  for (const Json& value : one["data"][0]["embedding"]) values.push_back(value.get<float>());
  EXPECT_EQ(base64, encode_base64({reinterpret_cast<const char*>(values.data()), 4 * values.size()}));

  EXPECT_EQ(toy.refusal(Json::object()), "input: found null, expected a text, a list of texts, or token ids");
  EXPECT_EQ(toy.refusal({{"input", ""}}), "input: found \"\", expected a text that is not empty");
  EXPECT_EQ(toy.refusal({{"input", Json::array()}}).substr(0, 28), "input: found \"an empty list\"");
  EXPECT_EQ(toy.refusal({{"input", {"a", 7}}}),
            "input[1]: found 7, expected a text, a list of texts, or token ids");
  EXPECT_EQ(toy.refusal({{"input", {"a", "b", "c", "d"}}}), "input: found 4 inputs, expected at most 3");
  EXPECT_EQ(toy.refusal({{"input", {1, -2}}}), "input: found -2, expected token ids");
  EXPECT_EQ(toy.refusal({{"input", {1, 99999}}}), "input: token 99999 is outside of the vocabulary of 400");
  EXPECT_EQ(toy.refusal({{"input", std::vector<int>(65, 1)}}),
            "input: it has 65 tokens, this model takes at most 64; shorten it, or embed it in parts");
  EXPECT_EQ(toy.refusal({{"input", "a"}, {"dimensions", 49}}),
            "dimensions: found 49, expected a whole number from 1 to 48");
  EXPECT_EQ(toy.refusal({{"input", "a"}, {"encoding_format", "hex"}}),
            "encoding_format: found \"hex\", expected \"float\" or \"base64\"");
  EXPECT_EQ(toy.refusal({{"input", "a"}, {"dimension", 4}}),
            "dimension: unknown field; did you mean 'dimensions'?");
  const Json chat = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  EXPECT_EQ(toy.refusal(chat, 400, "/v1/chat/completions"),
            "model: 'bert' gives embeddings and writes no text; ask it at /v1/embeddings");
  EXPECT_EQ(must(parse_json(toy.service->get("/v1/models").text, "models"))["data"][0]["id"], "bert");
  EXPECT_NE(toy.service->get("/metrics").text.find("embedding_tokens_sum\t"), std::string::npos);
  toy.service->shutdown(std::chrono::seconds(5));
  EXPECT_NE(toy.refusal({{"input", "a"}}, 503).find("shutting down"), std::string::npos);
}

TEST(EmbeddingService, AModelThatWritesGivesNone) {
  ToyService toy({});
  EXPECT_EQ(toy.answer(kPath, {{"input", "a"}}, 400)["error"]["message"],
            "model: 'toy' writes text and gives no embeddings; serve one that does, with --embedding-model");
}

TEST(SentenceTransformers, SayHowToPool) {
  const std::string folder = toy_file("qwen3_embedding", "");
  EXPECT_TRUE(weights::is_sentence_transformer(folder));
  EXPECT_EQ(must(weights::embedding_metadata(folder, false)),
            (Json{{"model_type", "decoder"}, {"pooling_strategy", "last"}, {"normalize", true}}));
  EXPECT_FALSE(weights::is_sentence_transformer(toy_file("bert", "")));
  EXPECT_EQ(must(weights::embedding_metadata(toy_file("bert", ""), true)),
            (Json{{"model_type", "encoder"}, {"pooling_strategy", "cls"}, {"normalize", true}}));
  TempFolder made;
  auto modules = [&](const Json& json) { must(write_file(made.file("modules.json"), json_text(json))); };
  auto pooling = [&](const Json& json) { must(write_file(made.file("config.json"), json_text(json))); };
  auto module = [](const char* type, const char* path = "") {
    return Json{{"path", path}, {"type", str("sentence_transformers.models.", type)}};
  };
  modules(Json::array({module("Transformer"), module("Pooling")}));
  pooling({{"pooling_mode_mean_tokens", true}});
  EXPECT_EQ(must(weights::embedding_metadata(made.path(), true)),
            (Json{{"model_type", "encoder"}, {"pooling_strategy", "mean"}, {"normalize", false}}));
  auto problem = [&] { return weights::embedding_metadata(made.path(), true).status().message(); };
  pooling({{"pooling_mode_max_tokens", true}});
  EXPECT_NE(problem().find("pooling_mode_max_tokens is not built"), std::string::npos);
  pooling({{"pooling_mode_cls_token", true}, {"pooling_mode_lasttoken", true}});
  EXPECT_NE(problem().find("several poolings"), std::string::npos);
  modules(Json::array({module("Transformer"), module("Dense", "2_Dense")}));
  EXPECT_NE(problem().find("Dense' is not built"), std::string::npos) << problem();
  modules(Json::array({module("Pooling", "../elsewhere")}));
  EXPECT_NE(problem().find("expected a folder beside the file"), std::string::npos);
}

// Text is read with the tokens that the tokenizer puts around it.
TEST(EmbeddingTokens, SpecialTokensStandAround) {
  const std::string path = std::string(MLC_SOURCE_DIR) + "/tests/data/weights/source/bert/tokenizer.json";
  Json json = must(read_json_file(path));
  json["post_processor"] = must(parse_json(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
          "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
          "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]},
          "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}})",
      "post_processor"));
  auto tokenizer = must(Tokenizer::from_json(json_text(json), "tokenizer"));
  std::vector<int32_t> expected = must(tokenizer->encode("a text"));
  expected.insert(expected.begin(), 1);
  expected.push_back(0);
  EXPECT_EQ(must(tokenizer->encode_with_special("a text")), expected);
}

}  // namespace
}  // namespace mlc::serve::openai
