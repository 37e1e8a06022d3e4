// Many mixed requests over real sockets against a toy model, each answer held against what the same request
// got when it was alone: streams, choices, grammars, tools, adapters, bad bodies, prompts that are too long,
// and clients that leave at any point.
#pragma once

#include <atomic>
#include <cstdio>
#include <future>
#include <map>
#include <random>
#include <thread>

#include "apps/http/api_server.h"
#include "support/http_client.h"
#include "support/tool_request.h"
#include "support/toy_service.h"

namespace mlc::testing {

class Soak {
 public:
  Soak()
      : toy_({.sequences = 8,
              .context = 200,
              .total = 1000,
              .deterministic = true,
              .limits = {.debug = true, .lora_loading = true},
              .jinja = kToolTemplate,
              .adapters = true}),
        server_(must(http::ApiServer::start(*toy_.service, {.port = 0, .max_body_bytes = 60'000}))) {
    for (const char* name : {"plain", "patterns"})
      toy_.answer("/v1/load_lora_adapter",
                  {{"lora_name", name}, {"lora_path", toy_file("llama_lora", name)}});
    make_requests();
    for (Asked& asked : requests_) asked.alone = texts_of(send(asked, false).all());
  }

  // Sends requests number `first` to `last` - 1, from so many clients at once.
  void run(int64_t first, int64_t last, int clients) {
    std::atomic<int64_t> next{first};
    std::vector<std::thread> threads;
    for (int i = 0; i < clients; ++i)
      threads.emplace_back([&] {
        for (int64_t number = next++; number < last; number = next++) one(number);
      });
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < 1200 && toy_.service->active() > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  // What went wrong: an answer that is not that of its lone run; the first few.
  std::vector<std::string> wrong() const {
    std::lock_guard lock(mutex_);
    return wrong_;
  }
  int64_t answered() const { return answered_; }  // whole or as streams
  int64_t left() const { return left_; }          // by their clients, before the end
  int64_t refused() const { return refused_; }
  // Once all have ended and the kept texts are forgotten.
  size_t calls_at_work() const { return toy_.service->active(); }
  runtime::StateCost states_in_use() {
    std::promise<runtime::StateCost> used;
    auto& engine = toy_.service->first_model().engine();
    engine.reset();
    engine.post([&](serve::Engine&) { used.set_value(toy_.models[0].model->sequences().used()); });
    return used.get_future().get();
  }
  bool is_healthy() const {
    Client client(server_->port());
    client.ask("GET", "/health");
    return has_status(client.all(), 200);
  }
  // Of this process, in bytes.
  static int64_t resident_bytes() {
    long pages = 0;
    if (FILE* file = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
      std::fclose(file);
    }
    return pages * sysconf(_SC_PAGESIZE);
  }

 private:
  // A status, the text of choice i at 2 i, and its calls of tools, as names and arguments, at 2 i + 1.
  struct Texts {
    int status = 0;
    std::map<int64_t, std::string> choices;
    bool operator==(const Texts&) const = default;
  };
  struct Asked {
    std::string path, body;
    Json json;  // null: the body is none
    Texts alone = {};
  };

  void add(const char* path, Json body) { requests_.push_back({path, json_text(body), body}); }

  void make_requests() {
    const Json user = Json::array({{{"role", "user"}, {"content", "Hi there"}}});
    for (int seed = 0; seed < 4; ++seed) {
      const Json base = {
          {"temperature", seed % 2 == 0 ? 0.0 : 1.2}, {"seed", seed}, {"max_tokens", 6 + 3 * seed}};
      const auto with = [&](std::initializer_list<std::pair<const char*, Json>> fields) {
        Json body = base;
        for (const auto& [key, value] : fields) body[key] = value;
        return body;
      };
      const char* prompts[] = {"Once upon", "The meaning of life is", "x",
                               "Count: one, two, three, four, five, six,"};
      add("/v1/completions", with({{"prompt", prompts[seed]}}));
      add("/v1/completions", with({{"prompt", prompts[seed]}, {"n", 2 + seed}}));
      add("/v1/completions", with({{"prompt", prompts[seed]}, {"echo", true}, {"logprobs", 2}}));
      add("/v1/completions",
          with({{"prompt", {"a", "b c"}}, {"stop", {"e", "a"}}, {"repetition_penalty", 1.2}}));
      for (const char* model : {"toy:plain", "toy:patterns"})
        add("/v1/completions", with({{"prompt", prompts[seed]}, {"model", model}}));
      add("/v1/chat/completions", with({{"messages", user}, {"top_k", 5}, {"logit_bias", {{"7", 2}}}}));
      const Json schema = {{"enum", {"left", "right", seed}}};
      add("/v1/chat/completions",
          with({{"messages", user},
                {"max_tokens", 40},
                {"response_format",
                 {{"type", "json_schema"}, {"json_schema", {{"name", "s"}, {"schema", schema}}}}}}));
      add("/v1/chat/completions",
          with({{"messages", user}, {"response_format", {{"type", "regex"}, {"regex", "[ab]{3,9}c"}}}}));
      add("/v1/chat/completions",
          with({{"messages", user},
                {"n", 2},
                {"response_format", {{"type", "grammar"}, {"grammar", "root ::= \"(\" root? \")\" [xy]"}}}}));
      const Json tools = {tool("add", {{"a", {{"type", "integer"}, {"minimum", 0}, {"maximum", 99}}}}),
                          tool("ask", {{"who", {{"enum", {"me", "you"}}}}})};
      add("/v1/chat/completions",
          with({{"messages", user}, {"max_tokens", 60}, {"tools", tools}, {"tool_choice", "required"}}));
      add("/v1/chat/completions", with({{"messages", user}, {"tools", tools}}));
      add("/v1/messages", with({{"messages", user}, {"temperature", 0}}));  // it knows no seed
      Json responses = with({{"input", "Hi there"}, {"max_output_tokens", 7}});
      responses.erase("max_tokens");
      add("/v1/responses", responses);
    }
    add("/v1/completions", {{"prompt", 7}});
    add("/v1/completions", {{"prompt", "x"}, {"model", "toy:nobody"}});
    add("/v1/chat/completions",
        {{"messages", user}, {"response_format", {{"type", "regex"}, {"regex", "("}}}});
    std::string words;
    for (int i = 0; i < 3000; ++i) words += "word ";
    add("/v1/completions", {{"prompt", words}});                                  // more than the context
    add("/v1/completions", {{"prompt", words + words + words + words + words}});  // more than a body may be
    requests_.push_back({"/v1/completions", "{\"prompt\": \"x\"", nullptr});
    requests_.push_back({"/v1/chat/completions", std::string("\xff\0{", 3), nullptr});
  }

  Client send(const Asked& asked, bool stream) const {
    Client client(server_->port());
    if (!stream) {
      client.ask("POST", asked.path, asked.body);
    } else {
      Json body = asked.json;
      body["stream"] = true;
      client.ask("POST", asked.path, json_text(body));
    }
    return client;
  }

  void one(int64_t number) {
    std::mt19937_64 random(static_cast<uint64_t>(number));
    const Asked& asked = requests_[random() % requests_.size()];
    const bool stream = !asked.json.is_null() && random() % 2 == 0;
    const uint64_t way = random() % 8;
    if (way == 0) {  // leaves before the request is whole
      ++left_;
      Client client(server_->port());
      const std::string text =
          str("POST ", asked.path, " HTTP/1.1\r\nhost: localhost\r\ncontent-length: ", asked.body.size(),
              "\r\n\r\n", asked.body);
      return client.send(text.substr(0, random() % text.size()));
    }
    Client client = send(asked, stream);
    const bool leaves = way <= 2;
    if (leaves) ++left_;
    const Texts texts = texts_of(leaves ? client.read_bytes(random() % 1500) : client.all());
    if (!leaves) texts.status == 200 ? ++answered_ : ++refused_;
    if (leaves ? !begins(asked.alone, texts, stream) : !(texts == asked.alone))
      note(str("request ", number, stream ? " streamed " : " ", asked.path, " ", asked.body.substr(0, 200),
               ": got ", shown(texts), ", alone ", shown(asked.alone)));
  }

  // Whether what came before the client left is the beginning of the answer.
  static bool begins(const Texts& whole, const Texts& part, bool stream) {
    if (part.status == 0) return true;
    if (part.status != whole.status) return false;
    if (!stream) return part.choices.empty() || part.choices == whole.choices;
    for (const auto& [index, text] : part.choices)
      if (!whole.choices.contains(index) || !whole.choices.at(index).starts_with(text)) return false;
    return true;
  }

  static Texts texts_of(const std::string& answer) {
    Texts texts;
    if (answer.size() < 12 || answer.find("\r\n\r\n") == std::string::npos) return texts;
    texts.status = std::atoi(answer.c_str() + 9);
    if (texts.status != 200) return texts;
    if (answer.find("text/event-stream") == std::string::npos) {
      auto body = parse_json(body_of(answer), "answer");
      if (body.is_ok()) add_texts(*body, texts);
      return texts;
    }
    for (size_t at = 0; (at = answer.find("data: {", at)) != std::string::npos; ++at) {
      const size_t end = answer.find("\n\n", at);
      if (end == std::string::npos) break;
      add_texts(must(parse_json(answer.substr(at + 6, end - at - 6), "event")), texts);
    }
    return texts;
  }
  // Of a whole answer or an event.
  static void add_texts(const Json& json, Texts& texts) {
    if (const Json* choices = find(json, "choices")) {
      for (const Json& choice : *choices) {
        const int64_t index = 2 * find_int(choice, "index").value_or(0);
        texts.choices[index] += find_string(choice, "text").value_or("");
        for (const char* part : {"message", "delta"})
          if (const Json* message = find(choice, part)) {
            texts.choices[index] += find_string(*message, "content").value_or("");
            add_calls(*message, texts.choices[index + 1]);
          }
      }
    } else if (const Json* output = find(json, "output")) {
      for (const Json& item : *output) add_texts(item, texts);
    } else if (const Json* content = find(json, "content"); content && content->is_array()) {
      for (const Json& part : *content) texts.choices[0] += find_string(part, "text").value_or("");
    } else if (json.contains("delta") && json["delta"].is_string()) {
      texts.choices[0] += json["delta"].get<std::string>();
    } else if (const Json* delta = find(json, "delta")) {
      texts.choices[0] += find_string(*delta, "text").value_or("");
    }
  }
  static void add_calls(const Json& message, std::string& text) {
    if (const Json* calls = find(message, "tool_calls"))
      for (const Json& call : *calls)
        text += find_string(call["function"], "name").value_or("") +
                find_string(call["function"], "arguments").value_or("");
  }
  static std::string shown(const Texts& texts) {
    std::string result = str(texts.status);
    for (const auto& [index, text] : texts.choices) result += str(" ", index, " '", text.substr(0, 80), "'");
    return result;
  }
  void note(std::string problem) {
    std::lock_guard lock(mutex_);
    if (wrong_.size() < 10) wrong_.push_back(std::move(problem));
  }

  ToyService toy_;
  std::unique_ptr<http::ApiServer> server_;
  std::vector<Asked> requests_;
  std::atomic<int64_t> answered_{0}, left_{0}, refused_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> wrong_;
};

}  // namespace mlc::testing
