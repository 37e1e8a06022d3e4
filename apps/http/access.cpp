// Keys and origins.
#include "apps/http/access.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"

namespace mlc::http {
namespace {

bool lists(const std::vector<std::string>& list, std::string_view item) {
  return std::ranges::find(list, item) != list.end();
}

std::string_view after_scheme(std::string_view origin) {
  const size_t colon = origin.find("://");
  return colon == std::string_view::npos ? "" : origin.substr(colon + 3);
}

// What a preflight asks for, or the list of what is allowed.
std::string allowed(const std::vector<std::string>& list, std::string_view headers, std::string_view asked,
                    std::string_view otherwise) {
  if (!lists(list, "*")) return join(list, ", ");
  return std::string(header(headers, asked).value_or(otherwise));
}

}  // namespace

std::optional<std::string_view> header(std::string_view headers, std::string_view name) {
  while (!headers.empty()) {
    const size_t end = std::min(headers.find('\n'), headers.size());
    const std::string_view line = headers.substr(0, end);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(':'))
      return trim(line.substr(name.size() + 1));
    headers.remove_prefix(std::min(end + 1, headers.size()));
  }
  return std::nullopt;
}

std::string decode_path(std::string_view path) {
  std::string text;
  for (size_t i = 0; i < path.size(); ++i) {
    unsigned byte = 0;
    const char* const digits = path.data() + i + 1;
    if (path[i] == '%' && i + 2 < path.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      text += static_cast<char>(byte);
      i += 2;
    } else {
      text += path[i];
    }
  }
  return text;
}

bool same_secret(std::string_view given, std::string_view secret) {
  unsigned different = given.size() != secret.size();
  for (size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned char>(given[i]) ^
                 static_cast<unsigned char>(secret.empty() ? 0 : secret[i % secret.size()]);
  volatile unsigned result = different;  // the loop is not left early
  return result == 0;
}

bool has_key(const AccessRules& rules, std::string_view headers) {
  if (rules.api_key.empty()) return true;
  constexpr std::string_view kBearer = "bearer ";
  std::string_view given = header(headers, "authorization").value_or("");
  const bool bearer = given.size() > kBearer.size() &&
                      std::ranges::equal(given.substr(0, kBearer.size()), kBearer,
                                         [](char a, char b) { return (a | 0x20) == b || a == b; });
  given = bearer ? trim(given.substr(kBearer.size())) : header(headers, "x-api-key").value_or("");
  return same_secret(given, rules.api_key);
}

bool origin_may_ask(const AccessRules& rules, std::string_view headers) {
  const std::optional<std::string_view> origin = header(headers, "origin");
  if (!origin || lists(rules.allow_origins, "*") || lists(rules.allow_origins, *origin)) return true;
  const std::string_view host = header(headers, "host").value_or("");
  return !host.empty() && after_scheme(*origin) == host;
}

std::string cors_headers(const AccessRules& rules, std::string_view headers, bool preflight) {
  const std::optional<std::string_view> origin = header(headers, "origin");
  if (!origin) return "";
  const bool any = lists(rules.allow_origins, "*");
  if (!any && !lists(rules.allow_origins, *origin)) return "";
  std::string lines = str("access-control-allow-origin: ", any && !rules.allow_credentials ? "*" : *origin,
                          "\nvary: origin\n");
  if (rules.allow_credentials) lines += "access-control-allow-credentials: true\n";
  if (preflight)
    lines += str("access-control-allow-methods: ",
                 allowed(rules.allow_methods, headers, "access-control-request-method", "GET, POST"),
                 "\naccess-control-allow-headers: ",
                 allowed(rules.allow_headers, headers, "access-control-request-headers", "content-type"),
                 "\naccess-control-max-age: 600\n");
  return lines;
}

}  // namespace mlc::http
