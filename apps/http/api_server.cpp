// Turns requests into calls of the service, and replies into answers.
#include "apps/http/api_server.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include "apps/http/http_ffi.h"
#include "apps/http/page.h"
#include "base/strings.h"

namespace mlc::http {
namespace {

using serve::openai::ApiError;
using serve::openai::CallId;
using serve::openai::Reply;
using serve::openai::Service;

constexpr const char* kJson = "application/json";

// An answer on its way. Replies come one after the other, `gone` at any time.
class Exchange {
 public:
  Exchange(MlcHttpCall* call, std::string cors) : call_(call), cors_(std::move(cors)) {}
  // Precondition: no reply is under way.
  ~Exchange() { end(); }

  // False where the client can no longer be reached.
  bool answer(const Reply& reply) {
    if (!call_) return true;
    if (!reply.stream) return whole(reply.status, kJson, reply.text);
    bool reached = true;
    if (!begun_)
      reached = begin(200, "content-type: text/event-stream; charset=utf-8\ncache-control: no-cache\n");
    if (!reply.text.empty()) reached = reached && send(event_text(reply));
    if (reply.last) {
      if (*reply.event == '\0') reached = reached && send("data: [DONE]\n\n");
      end();
    }
    return reached;
  }

  bool whole(int status, const char* type, std::string_view body, const std::string& more = "") {
    const bool reached =
        begin(status, str("content-type: ", type, "\ncontent-length: ", body.size(), "\n", more)) &&
        send(body);
    end();
    return reached;
  }

 private:
  static std::string event_text(const Reply& reply) {
    return *reply.event ? str("event: ", reply.event, "\ndata: ", reply.text, "\n\n")
                        : str("data: ", reply.text, "\n\n");
  }
  bool begin(int status, const std::string& headers) {
    begun_ = true;
    const std::string all = headers + "x-content-type-options: nosniff\n" + cors_;
    return mlc_http_begin(call_, static_cast<uint16_t>(status), all.data(), all.size());
  }
  bool send(std::string_view text) { return text.empty() || mlc_http_send(call_, text.data(), text.size()); }
  void end() {
    if (call_) mlc_http_end(call_);
    call_ = nullptr;
  }

  MlcHttpCall* call_;
  std::string cors_;
  bool begun_ = false;
};

std::string error_text(int status, const std::string& message) {
  return ApiError{.status = status, .message = message, .param = "", .code = ""}.json();
}

}  // namespace

class ApiServer::Handler {
 public:
  Handler(Service& service, AccessRules access) : service_(service), access_(std::move(access)) {}

  MlcHttpHandler functions() {
    return {.context = this,
            .admit = [](void* self, MlcHttpCall* call,
                        const MlcHttpHead* head) { return static_cast<Handler*>(self)->admit(call, *head); },
            .handle =
                [](void* self, MlcHttpCall* call, const MlcHttpHead* head, const uint8_t* body, size_t size) {
                  static_cast<Handler*>(self)->handle(call, *head,
                                                      {reinterpret_cast<const char*>(body), size});
                },
            .gone = [](void* self, uint64_t id) { static_cast<Handler*>(self)->gone(id); }};
  }

  // Ends what is still at work, and waits for its last replies: they come here.
  void drain() {
    std::unique_lock lock(mutex_);
    std::vector<uint64_t> ids;
    for (const auto& [id, work] : work_) ids.push_back(id);
    lock.unlock();
    for (uint64_t id : ids) gone(id);
    lock.lock();
    changed_.wait(lock, [this] { return work_.empty(); });
  }

 private:
  // What is known of an admitted call while it is at work.
  struct Work {
    CallId call = -1;  // -1: submit() has not returned
    bool cancelled = false;
  };

  bool admit(MlcHttpCall* call, const MlcHttpHead& head) {
    const std::string_view method(head.method, head.method_size), path(head.path, head.path_size),
        headers(head.headers, head.headers_size);
    const bool preflight = method == "OPTIONS";
    auto refuse = [&](int status, const std::string& message, const std::string& more = "") {
      Exchange(call, cors_headers(access_, headers, preflight))
          .whole(status, kJson, error_text(status, message), more);
      return false;
    };
    if (preflight) {
      Exchange(call, cors_headers(access_, headers, true)).whole(204, kJson, "");
      return false;
    }
    if (path != "/health" && page(path).text.empty() && !has_key(access_, headers))
      return refuse(401,
                    "Authorization: the API key is missing or wrong; send it as 'Authorization: Bearer KEY'",
                    "www-authenticate: Bearer\n");
    if (!origin_may_ask(access_, headers))
      return refuse(403, str("Origin: '", header(headers, "origin").value_or(""),
                             "' may not ask this server; --allow-origins says whose pages may"));
    if (method == "GET" || method == "HEAD") {
      answer_get(call, path, headers);
      return false;
    }
    if (method != "POST") return refuse(405, str(method, ": expected GET or POST"), "allow: GET, POST\n");
    if (!service_.knows(path)) return refuse(404, str(path, ": no such path to POST to"));
    return true;
  }

  void answer_get(MlcHttpCall* call, std::string_view path, std::string_view headers) {
    Exchange exchange(call, cors_headers(access_, headers, false));
    if (const Page found = page(path); !found.text.empty()) {
      exchange.whole(200, found.type, found.text, kPageHeaders);
      return;
    }
    const Reply reply = service_.get(decode_path(path));
    const bool plain = path == "/metrics" && reply.status == 200;
    exchange.whole(reply.status, plain ? "text/plain; version=0.0.4; charset=utf-8" : kJson, reply.text);
  }

  void handle(MlcHttpCall* call, const MlcHttpHead& head, std::string_view body) {
    const uint64_t id = mlc_http_id(call);
    {
      std::lock_guard lock(mutex_);
      work_[id];
    }
    auto exchange =
        std::make_shared<Exchange>(call, cors_headers(access_, {head.headers, head.headers_size}, false));
    const CallId submitted =
        service_.submit({head.path, head.path_size}, body, [this, id, exchange](const Reply& reply) {
          if (!exchange->answer(reply) && !reply.last) gone(id);
          if (!reply.last) return;
          std::lock_guard lock(mutex_);
          work_.erase(id);
          changed_.notify_all();
        });
    std::unique_lock lock(mutex_);
    auto work = work_.find(id);
    if (work == work_.end()) return;
    work->second.call = submitted;
    const bool cancelled = work->second.cancelled;
    lock.unlock();
    if (cancelled) service_.cancel(submitted);
  }

  void gone(uint64_t id) {
    CallId call = -1;
    {
      std::lock_guard lock(mutex_);
      auto work = work_.find(id);
      if (work == work_.end()) return;
      if (work->second.cancelled) return;
      work->second.cancelled = true;
      call = work->second.call;
    }
    if (call >= 0) service_.cancel(call);
  }

  Service& service_;
  const AccessRules access_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Work> work_;
};

ApiServer::ApiServer() = default;

Result<std::unique_ptr<ApiServer>> ApiServer::start(Service& service, const ServerOptions& o) {
  std::unique_ptr<ApiServer> server(new ApiServer);
  server->service_ = &service;
  server->handler_ = std::make_unique<Handler>(service, o.access);
  const MlcHttpOptions options{.max_body_bytes = o.max_body_bytes,
                               .max_header_bytes = o.max_header_bytes,
                               .max_connections = o.max_connections,
                               .head_timeout_ms = static_cast<uint64_t>(o.head_timeout.count()),
                               .body_timeout_ms = static_cast<uint64_t>(o.body_timeout.count()),
                               .queued_chunks = o.queued_chunks};
  const MlcHttpHandler functions = server->handler_->functions();
  MlcHttpText error{nullptr, 0};
  server->port_ = o.port;
  server->server_ =
      mlc_http_start(o.host.data(), o.host.size(), &server->port_, &options, &functions, &error);
  if (server->server_) return server;
  const std::string why(error.data, error.size);
  mlc_http_free(error);
  return Status::error(str("--host ", o.host, " --port ", o.port, ": cannot listen there (", why,
                           "); choose another port or end who has it"));
}

ApiServer::~ApiServer() {
  if (!server_) return;
  mlc_http_stop(server_, 1000);
  handler_->drain();
}

void ApiServer::shutdown(std::chrono::milliseconds patience) {
  mlc_http_close(server_);
  service_->shutdown(patience);
  mlc_http_stop(server_, 1000);  // the last bytes
  server_ = nullptr;
  handler_->drain();
}

}  // namespace mlc::http
