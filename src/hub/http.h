// GET over HTTP and HTTPS, through libcurl, which is loaded when the first client is made: a program that
// downloads nothing starts without it.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace mlc::hub {

struct HttpRequest {
  std::string url;
  int64_t offset = 0;  // first byte that is wanted; above 0 it is asked for as a range
  // The token goes to addresses that begin with `token_origin` alone: not to those that they redirect to.
  std::string token, token_origin;
};

using Headers = std::map<std::string, std::string>;  // names in lower case

struct HttpAnswer {
  enum class Failure {
    kNone,         // there is a status
    kUnreachable,  // no connection
    kCut,          // the connection ended early
    kStopped,      // the receiver wanted no more
    kRefused,      // a redirect that is not followed, an address that is none
  } failure = Failure::kNone;
  std::string why;        // of a failure, for a sentence
  int status = 0;         // 200, 206, 404, ...
  Headers first_headers;  // of the address that was asked for
  Headers headers;        // of where redirects led to
};

class HttpClient {
 public:
  // Of one thread; connections are kept for its next requests. Errors: libcurl is not there.
  static Result<std::unique_ptr<HttpClient>> create();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Told the status before the first byte; false ends the request. Only bodies of 200 and 206 arrive.
  struct Receiver {
    std::function<bool(int status, const Headers& headers)> begin;
    std::function<bool(std::span<const std::byte> bytes)> data;
  };
  // Follows redirects: at most ten, and none from https to http.
  HttpAnswer get(const HttpRequest& request, const Receiver& receiver);

 private:
  struct Curl;
  explicit HttpClient(std::unique_ptr<Curl> curl);
  HttpAnswer get_once(const HttpRequest& request, const std::string& url, const Receiver& receiver,
                      std::string& location);
  std::unique_ptr<Curl> curl_;
};

// A header's text, or "".
std::string header(const Headers& headers, const std::string& name);

}  // namespace mlc::hub
