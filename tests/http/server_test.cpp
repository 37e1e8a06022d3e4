// The server over real sockets, on a toy model: answers, streams, keys, origins, limits, vanished and slow
// clients, many at once, the end.
#include <gtest/gtest.h>

#include <thread>

#include "apps/http/api_server.h"
#include "support/http_client.h"
#include "support/toy_service.h"

namespace mlc::http {
namespace {

using testing::body_of;
using testing::Client;
using testing::has_status;
using testing::must;
using testing::ToyService;

class HttpTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { toy = new ToyService({.context = 250, .total = 1000}); }
  static void TearDownTestSuite() { delete toy; }

  void start(ServerOptions options = {}) {
    options.port = 0;
    server = must(ApiServer::start(*toy->service, options));
  }
  std::string ask(const std::string& method, const std::string& path, const std::string& body = "",
                  const std::string& headers = "") {
    Client client(server->port());
    client.ask(method, path, body, headers);
    return client.all();
  }
  static std::string completion(int max_tokens, bool stream = false) {
    return json_text(
        {{"prompt", "Once upon"}, {"max_tokens", max_tokens}, {"temperature", 0}, {"stream", stream}});
  }
  void wait_until_idle() {
    for (int i = 0; i < 600 && toy->service->active() > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(toy->service->active(), 0u);
  }

  static ToyService* toy;
  std::unique_ptr<ApiServer> server;
};
ToyService* HttpTest::toy = nullptr;

TEST_F(HttpTest, AnswersAndStreams) {
  start();
  const std::string whole = ask("POST", "/v1/completions", completion(12));
  EXPECT_TRUE(has_status(whole, 200)) << whole;
  EXPECT_NE(whole.find("content-type: application/json"), std::string::npos);
  const std::string expected = must(parse_json(body_of(whole), "body"))["choices"][0]["text"];
  const std::string stream = ask("POST", "/v1/completions", completion(12, true));
  EXPECT_TRUE(has_status(stream, 200));
  EXPECT_NE(stream.find("content-type: text/event-stream"), std::string::npos);
  EXPECT_NE(stream.find("data: [DONE]\n\n"), std::string::npos);
  std::string text;
  for (size_t at = 0; (at = stream.find("data: {", at)) != std::string::npos; ++at) {
    const Json chunk = must(parse_json(stream.substr(at + 6, stream.find("\n\n", at) - at - 6), "chunk"));
    text += chunk["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(text, expected);
}

TEST_F(HttpTest, PathsAndErrors) {
  start();
  EXPECT_TRUE(has_status(ask("GET", "/health"), 200));
  EXPECT_TRUE(has_status(ask("GET", "/v1/models"), 200));
  EXPECT_NE(ask("GET", "/metrics").find("text/plain"), std::string::npos);
  EXPECT_TRUE(has_status(ask("GET", "/nothing"), 404));
  EXPECT_TRUE(has_status(ask("POST", "/nothing", "{}"), 404));
  EXPECT_TRUE(has_status(ask("GET", "/v1/completions"), 405));
  EXPECT_TRUE(has_status(ask("DELETE", "/v1/models"), 405));
  const std::string page = ask("GET", "/");
  EXPECT_NE(page.find("content-security-policy: default-src 'none'"), std::string::npos);
  EXPECT_NE(page.find("page.js"), std::string::npos);
  const std::string bad = ask("POST", "/v1/completions", "{\"prompt\": ");
  EXPECT_TRUE(has_status(bad, 400));
  EXPECT_EQ(must(parse_json(body_of(bad), "body"))["error"]["type"], "invalid_request_error");
  const std::string not_stream =
      ask("POST", "/v1/completions", R"({"prompt": "x", "n": "many", "stream": true})");
  EXPECT_TRUE(has_status(not_stream, 400));
  EXPECT_NE(not_stream.find("n: found"), std::string::npos);
}

TEST_F(HttpTest, TheKeyGuardsAllButHealth) {
  start({.access = {.api_key = "secret"}});
  EXPECT_TRUE(has_status(ask("GET", "/health"), 200));
  for (const char* path : {"/v1/models", "/metrics"}) EXPECT_TRUE(has_status(ask("GET", path), 401)) << path;
  for (const char* key : {"", "Authorization: Bearer secre\r\n", "Authorization: Bearer secrets\r\n",
                          "Authorization: secret\r\n", "Authorization: Bearer \r\n", "x-api-key: no\r\n"})
    EXPECT_TRUE(has_status(ask("POST", "/v1/completions", completion(2), key), 401)) << key;
  for (const char* key :
       {"Authorization: Bearer secret\r\n", "authorization: bearer secret\r\n", "X-Api-Key: secret\r\n"})
    EXPECT_TRUE(has_status(ask("POST", "/v1/completions", completion(2), key), 200)) << key;
}

TEST_F(HttpTest, OtherOriginsMayAskWhereAllowed) {
  start();
  const std::string there = "Origin: https://there.example\r\n";
  EXPECT_TRUE(has_status(ask("POST", "/v1/completions", completion(2), there), 403));
  EXPECT_EQ(ask("OPTIONS", "/v1/completions", "", there).find("access-control-allow-origin"),
            std::string::npos);
  EXPECT_TRUE(has_status(ask("POST", "/v1/completions", completion(2), "Origin: http://localhost\r\n"), 200));
  server.reset();
  start({.access = {.allow_origins = {"https://there.example"}}});
  const std::string preflight =
      ask("OPTIONS", "/v1/completions", "", there + "Access-Control-Request-Headers: content-type\r\n");
  EXPECT_NE(preflight.find("access-control-allow-origin: https://there.example"), std::string::npos);
  EXPECT_NE(preflight.find("access-control-allow-headers: content-type"), std::string::npos);
  EXPECT_TRUE(has_status(ask("POST", "/v1/completions", completion(2), there), 200));
  EXPECT_TRUE(
      has_status(ask("POST", "/v1/completions", completion(2), "Origin: https://else.example\r\n"), 403));
}

TEST_F(HttpTest, Limits) {
  start({.max_body_bytes = 2000,
         .max_connections = 4,
         .head_timeout = std::chrono::milliseconds(500),
         .body_timeout = std::chrono::milliseconds(500)});
  const std::string large = ask("POST", "/v1/completions", std::string(3000, ' '));
  EXPECT_TRUE(has_status(large, 413)) << large;
  EXPECT_NE(large.find("--max-body-bytes"), std::string::npos);
  EXPECT_TRUE(has_status(ask("GET", "/health", "", "x: " + std::string(200'000, 'x') + "\r\n"), 431));
  EXPECT_TRUE(has_status(ask("GET", "/he alth"), 400));
  {
    Client slow(server->port());
    slow.send("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    EXPECT_TRUE(has_status(slow.all(), 408));
  }
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 4; ++i) idle.push_back(std::make_unique<Client>(server->port()));
  for (auto& client : idle) client->send("GET ");
  EXPECT_TRUE(has_status(Client(server->port()).all(), 503));
  for (auto& client : idle)
    EXPECT_EQ(client->all().find("200 OK"), std::string::npos);  // heads that never end
  EXPECT_TRUE(has_status(ask("GET", "/health"), 200));
}

TEST_F(HttpTest, VanishedClientsCancel) {
  start();
  {
    Client client(server->port());
    client.ask("POST", "/v1/completions", completion(240, true));
    client.read_until("data: {");
    EXPECT_EQ(toy->service->active(), 1u);
    client.leave();
  }
  wait_until_idle();
  {
    Client client(server->port());
    client.ask("POST", "/v1/completions", completion(240));  // nothing comes before the end
    while (toy->service->active() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    client.leave();
  }
  wait_until_idle();
  const std::string metrics = toy->service->get("/metrics").text;
  EXPECT_NE(metrics.find("requests_finished_abort\t2"), std::string::npos) << metrics;
}

// A client that reads nothing: its stream is larger than what the kernel and the queue hold.
// A write to a connection that is no more is an error for the server, never a signal that ends the process.
TEST_F(HttpTest, ResetConnectionsAreNoSignal) {
  start();
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 40; ++i) {
        Client client(server->port());
        client.ask("POST", "/v1/completions", completion(240, true));
        client.read_until("data: {");
        i % 2 ? client.reset() : client.leave();
      }
    });
  for (std::thread& t : callers) t.join();
  EXPECT_TRUE(has_status(ask("GET", "/health"), 200));
}

TEST_F(HttpTest, SlowClientsAreCutOff) {
  start({.queued_chunks = 4});
  const auto aborted = [] {
    return toy->service->first_model()
        .counters()
        .finished_by_reason[static_cast<size_t>(serve::FinishReason::kAbort)];
  };
  const int64_t before = aborted();
  Client client(server->port(), 2048);
  Json body = {{"prompt", "x"}, {"max_tokens", 240}, {"stream", true}, {"n", 128}, {"logprobs", 5}};
  client.ask("POST", "/v1/completions", json_text(body));
  client.read_until("data: {");
  wait_until_idle();
  EXPECT_GT(aborted(), before);
  EXPECT_TRUE(has_status(ask("GET", "/health"), 200));
}

TEST_F(HttpTest, ManyAtOnce) {
  start();
  const std::string expected =
      must(parse_json(body_of(ask("POST", "/v1/completions", completion(10))), "body"))["choices"][0]["text"];
  std::vector<std::thread> threads;
  std::atomic<int> right{0}, refused{0};
  for (int i = 0; i < 32; ++i)
    threads.emplace_back([&, i] {
      if (i % 4 == 3) {
        refused += has_status(ask("POST", "/v1/completions", "{"), 400);
        return;
      }
      const std::string answer = ask("POST", "/v1/completions", completion(10));
      if (!has_status(answer, 200)) return;
      auto body = parse_json(body_of(answer), "body");
      right += body.is_ok() && (*body)["choices"][0]["finish_reason"] == "length" &&
               (*body)["usage"]["completion_tokens"] == 10;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 24);
  EXPECT_EQ(refused, 8);
  EXPECT_FALSE(expected.empty());
}

TEST(HttpEnd, RequestsAtWorkEndAndNewOnesAreRefused) {
  ToyService toy({.context = 250, .total = 1000});
  auto server = must(ApiServer::start(*toy.service, {.port = 0}));
  Client client(server->port());
  client.ask("POST", "/v1/completions",
             R"({"prompt": "x", "max_tokens": 40, "stream": true, "ignore_eos": true})");
  client.read_until("data: {");
  const uint16_t port = server->port();
  server->shutdown(std::chrono::seconds(60));
  const std::string answer = client.all();
  EXPECT_NE(answer.find("data: [DONE]"), std::string::npos) << answer;
  EXPECT_NE(answer.find("\"length\""), std::string::npos);
  EXPECT_THROW(Client{port}, std::runtime_error);
  server.reset();
}

// One that takes longer than the deadline is ended, with a reason.
TEST(HttpEnd, TheDeadlineEndsWhatIsLeft) {
  ToyService toy({.context = 250, .total = 1000});
  auto server = must(ApiServer::start(*toy.service, {.port = 0}));
  // Work for seconds, of which the last client's is not done when the first has its first token.
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::make_unique<Client>(server->port()));
    clients.back()->ask("POST", "/v1/completions",
                        R"({"prompt": "x", "n": 64, "stream": true, "ignore_eos": true})");
  }
  for (const auto& client : clients) client->read_until("HTTP/1.1 200");
  server->shutdown(std::chrono::milliseconds(1));
  int64_t aborted = 0;
  for (const auto& client : clients) {
    const std::string answer = client->all();
    aborted += answer.find("\"abort\"") != std::string::npos;
    EXPECT_NE(answer.find("data: [DONE]"), std::string::npos) << answer;
  }
  EXPECT_GT(aborted, 0);
}

TEST(HttpStart, TakenPortsAreNamed) {
  ToyService toy({});
  auto server = must(ApiServer::start(*toy.service, {.port = 0}));
  auto second = ApiServer::start(*toy.service, {.port = server->port()});
  ASSERT_FALSE(second.is_ok());
  EXPECT_TRUE(
      second.status().message().starts_with(str("--host 127.0.0.1 --port ", server->port(), ": cannot")));
}

TEST(Access, SecretsAreCompared) {
  EXPECT_TRUE(same_secret("abc", "abc"));
  for (const char* given : {"", "ab", "abcd", "abd", "abcabc"})
    EXPECT_FALSE(same_secret(given, "abc")) << given;
  EXPECT_FALSE(same_secret("x", ""));
  EXPECT_EQ(header("host: a\nx-y:  b \n", "x-y"), "b");
  EXPECT_EQ(header("x-y-z: a\n", "x-y"), std::nullopt);
  EXPECT_EQ(decode_path("/v1/models/a%2Fb%20c%2"), "/v1/models/a/b c%2");
  EXPECT_EQ(decode_path("%zz%4x%41%"), "%zz%4xA%");
}

}  // namespace
}  // namespace mlc::http
