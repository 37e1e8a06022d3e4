// LoRA adapters through the API: chosen by name, loaded and unloaded while requests run, each answer its own.
#include <gtest/gtest.h>

#include <future>

#include "support/lora_model.h"
#include "support/toy_service.h"

namespace mlc::serve::openai {
namespace {

using testing::Collected;
using testing::lora_folder;
using testing::must;
using testing::ToyService;

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kLoad = "/v1/load_lora_adapter";
constexpr const char* kUnload = "/v1/unload_lora_adapter";

Json ask(const std::string& model, int seed = 0) {
  return {{"model", model},   {"prompt", "The meaning of life is"},
          {"max_tokens", 12}, {"temperature", seed % 2},
          {"seed", seed},     {"ignore_eos", true}};
}

std::string text_of(const Json& answer) { return answer["choices"][0]["text"]; }

Json load_body(const std::string& name) { return {{"lora_name", name}, {"lora_path", lora_folder(name)}}; }

std::string error_of(ToyService& toy, const char* path, const Json& body, int status) {
  return toy.answer(path, body, status)["error"]["message"];
}

TEST(LoraService, TheNameChooses) {
  ToyService toy({.deterministic = true, .limits = {.lora_loading = true}, .adapters = true});
  const std::string base = text_of(toy.answer(kCompletions, ask("toy")));
  EXPECT_EQ(error_of(toy, kCompletions, ask("toy:plain"), 404),
            "model: no adapter 'plain' of 'toy' is loaded; there is none");
  EXPECT_EQ(toy.answer(kLoad, load_body("plain"))["id"], "toy:plain");
  EXPECT_EQ(toy.answer(kLoad, load_body("patterns"))["status"], "ok");
  const Json plain = toy.answer(kCompletions, ask("toy:plain"));
  EXPECT_EQ(plain["model"], "toy:plain");
  EXPECT_NE(text_of(plain), base);
  EXPECT_NE(text_of(toy.answer(kCompletions, ask("toy:patterns"))), text_of(plain));
  for (const char* name : {"plain", "mine:plain"})  // as vLLM has it, and under a client's name of the base
    EXPECT_EQ(text_of(toy.answer(kCompletions, ask(name))), text_of(plain)) << name;
  for (const char* name : {"toy", "gpt"})
    EXPECT_EQ(text_of(toy.answer(kCompletions, ask(name))), base) << name;
  for (const char* name : {"toy:pliant", "mine:pliant"})
    EXPECT_EQ(error_of(toy, kCompletions, ask(name), 404),
              "model: no adapter 'pliant' of 'toy' is loaded; there are: patterns, plain");
  Json chat = {
      {"model", "toy:plain"}, {"max_tokens", 4}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  EXPECT_EQ(toy.answer("/v1/chat/completions", chat)["model"], "toy:plain");
  chat["model"] = "toy:none";
  EXPECT_EQ(toy.answer("/v1/messages", chat, 404)["error"]["type"], "not_found_error");
  const Json models = must(parse_json(toy.service->get("/v1/models").text, "models"))["data"];
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0]["id"], "toy");
  EXPECT_EQ(models[1]["id"], "toy:patterns");
  EXPECT_EQ(models[2]["parent"], "toy");
  EXPECT_EQ(toy.service->get("/v1/models/toy:plain").status, 200);
  EXPECT_EQ(toy.answer(kUnload, {{"lora_name", "plain"}})["id"], "toy:plain");
  EXPECT_EQ(toy.service->get("/v1/models/toy:plain").status, 404);
  EXPECT_EQ(error_of(toy, kCompletions, ask("toy:plain"), 404),
            "model: no adapter 'plain' of 'toy' is loaded; there are: patterns");
}

TEST(LoraService, MistakesAreNamed) {
  ToyService toy({.limits = {.lora_loading = true}, .adapters = true});
  EXPECT_EQ(error_of(toy, kLoad, {{"lora_path", "x"}}, 400),
            "lora_name: found \"\", expected a name of 1 to 128 printable bytes");
  EXPECT_EQ(error_of(toy, kLoad, {{"lora_name", "a\nb"}, {"lora_path", "x"}}, 400).substr(0, 17),
            "lora_name: found ");
  EXPECT_EQ(error_of(toy, kLoad, {{"lora_name", "a"}}, 400),
            "lora_path: found \"\", expected the folder of a PEFT adapter on this machine");
  EXPECT_NE(error_of(toy, kLoad, {{"lora_name", "a"}, {"lora_path", "no/such"}}, 400).find("no/such"),
            std::string::npos);
  toy.answer(kLoad, load_body("plain"));
  EXPECT_EQ(error_of(toy, kLoad, load_body("plain"), 400), "adapter: 'plain' is loaded already");
  EXPECT_EQ(error_of(toy, kUnload, {{"lora_name", "other"}}, 404),
            "lora_name: no adapter 'other' is loaded; there are: plain");
  // A request that is queued uses its adapter.
  std::promise<void> go;
  toy.service->first_model().engine().post([&go](Engine&) { go.get_future().wait(); });
  Collected answer, unloaded;
  toy.service->submit(kCompletions, json_text(ask("plain")), answer.callback());
  toy.service->submit(kUnload, R"({"lora_name": "plain"})", unloaded.callback());
  go.set_value();
  EXPECT_NE(unloaded.all()[0].text.find("'plain' is used by 1 request; wait for the end"), std::string::npos);
  EXPECT_EQ(answer.all()[0].status, 200);
  toy.answer(kUnload, {{"lora_name", "plain"}});

  ToyService closed({.adapters = true});
  for (const char* path : {kLoad, kUnload})
    EXPECT_NE(error_of(closed, path, load_body("plain"), 403).find("--allow-runtime-lora-updating"),
              std::string::npos);
  ToyService none({.limits = {.lora_loading = true}});
  EXPECT_NE(error_of(none, kLoad, load_body("plain"), 400).find("was compiled for none"), std::string::npos);
}

TEST(LoraService, OfSeveralModelsEachHasItsOwn) {
  ToyService toy({.limits = {.lora_loading = true}, .ids = {"one", "two"}, .adapters = true});
  Json body = load_body("plain");
  EXPECT_EQ(error_of(toy, kLoad, body, 404), "model: found '', expected one of one, two");
  body["model"] = "two";
  EXPECT_EQ(toy.answer(kLoad, body)["id"], "two:plain");
  EXPECT_EQ(toy.answer(kCompletions, ask("plain"))["model"], "two:plain");
  EXPECT_EQ(error_of(toy, kCompletions, ask("one:plain"), 404),
            "model: no adapter 'plain' of 'one' is loaded; there is none");
  body["model"] = "one";
  EXPECT_EQ(error_of(toy, kLoad, body, 400), "lora_name: 'plain' is a name of 'two' already");
  EXPECT_EQ(error_of(toy, kUnload, {{"lora_name", "x"}}, 404),
            "lora_name: no adapter 'x' is loaded; of 'one' there is none; of 'two' there are: plain");
}

// Requests of all adapters in the same steps, while another one comes and goes: each answer is its lone
// run's.
TEST(LoraService, AnswersOfManyAdaptersStayApart) {
  ToyService toy({.deterministic = true, .limits = {.lora_loading = true}, .adapters = true});
  const std::string names[] = {"toy", "toy:plain", "toy:patterns"};
  constexpr int kKinds = 12, kRequests = 48;
  toy.answer(kLoad, load_body("patterns"));
  toy.answer(kLoad, load_body("plain"));
  std::vector<std::string> alone;
  for (int i = 0; i < kKinds; ++i) alone.push_back(text_of(toy.answer(kCompletions, ask(names[i % 3], i))));
  EXPECT_NE(alone[1], alone[2]);
  std::vector<std::unique_ptr<Collected>> calls;
  for (int i = 0; i < kRequests; ++i) {
    calls.push_back(std::make_unique<Collected>());
    const int kind = i % kKinds;
    toy.service->submit(kCompletions, json_text(ask(names[kind % 3], kind)), calls.back()->callback());
    if (i % 16 != 5) continue;
    Json third = load_body("plain");
    third["lora_name"] = "third";
    toy.answer(kLoad, third);
    toy.answer(kUnload, {{"lora_name", "third"}});
  }
  for (int i = 0; i < kRequests; ++i) {
    const auto& replies = calls[static_cast<size_t>(i)]->all();
    ASSERT_EQ(replies[0].status, 200) << replies[0].text;
    EXPECT_EQ(text_of(must(parse_json(replies[0].text, "answer"))), alone[static_cast<size_t>(i % kKinds)])
        << "request " << i;
  }
}

}  // namespace
}  // namespace mlc::serve::openai
