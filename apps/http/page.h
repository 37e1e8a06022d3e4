// The files of the small chat page that the server shows at "/".
#pragma once

#include <string_view>

namespace mlc::http {

struct Page {
  std::string_view text;  // "": no such file
  const char* type = "";
};
Page page(std::string_view path);

// Of every page: it loads nothing from elsewhere and runs no script but its own.
inline constexpr const char* kPageHeaders =
    "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\ncache-control: no-cache\n";

}  // namespace mlc::http
