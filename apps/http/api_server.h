// The API over HTTP: a Service (service/openai/service.h) behind a socket. A client that goes away, or reads
// its stream too slowly, cancels its request.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "apps/http/access.h"
#include "service/openai/service.h"

struct MlcHttpServer;

namespace mlc::http {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  AccessRules access;
  // A body holds a prompt: 8 MiB are two million words. Of connections each may hold one such body.
  size_t max_body_bytes = 8 << 20, max_header_bytes = 64 << 10, max_connections = 1024;
  std::chrono::milliseconds head_timeout{30'000}, body_timeout{60'000};
  size_t queued_chunks = 1024;  // of one stream: about as many tokens that a client has not taken
};

class ApiServer {
 public:
  // Listens from now on. The service must outlive this. Errors: an address that cannot be taken; starts with
  // --host or --port.
  static Result<std::unique_ptr<ApiServer>> start(serve::openai::Service& service,
                                                  const ServerOptions& options);
  // Waits for connections a second at most, then closes them.
  ~ApiServer();

  uint16_t port() const { return port_; }
  // Takes no more connections, lets the requests at work end for `patience`, and ends the others.
  void shutdown(std::chrono::milliseconds patience);

 private:
  class Handler;
  ApiServer();

  std::unique_ptr<Handler> handler_;
  MlcHttpServer* server_ = nullptr;
  uint16_t port_ = 0;
  serve::openai::Service* service_ = nullptr;
};

}  // namespace mlc::http
