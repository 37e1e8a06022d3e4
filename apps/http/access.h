// Who may ask: the API key, and pages of other origins (CORS). Pure functions of a request's head.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::http {

// Value of a header in lines "name: value"; `name` in small letters.
std::optional<std::string_view> header(std::string_view headers, std::string_view name);

// A path with its %XX as bytes; what is no such escape stays as it is.
std::string decode_path(std::string_view path);

// Whether two texts are equal; the time depends on the length of `given` alone.
bool same_secret(std::string_view given, std::string_view secret);

struct AccessRules {
  std::string api_key;                     // "": none is asked for
  std::vector<std::string> allow_origins;  // whose pages may ask; "*": any; empty: none but our own
  std::vector<std::string> allow_methods = {"*"}, allow_headers = {"*"};
  bool allow_credentials = false;
};

// Whether the key is in `Authorization: Bearer` or `x-api-key`, where one is asked for.
bool has_key(const AccessRules& rules, std::string_view headers);
// A browser names the page that asks in Origin. True where it names none, a page of this server itself (its
// host is the one that was asked), or an allowed one.
bool origin_may_ask(const AccessRules& rules, std::string_view headers);
// Header lines that let the page of an allowed origin read the answer; "" for others. `preflight`: also what
// it may send.
std::string cors_headers(const AccessRules& rules, std::string_view headers, bool preflight);

}  // namespace mlc::http
