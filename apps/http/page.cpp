// The page's files, which the build puts into the program (cmake/page.cmake).
#include "apps/http/page.h"

namespace mlc::http {
namespace {

constexpr std::string_view kHtml =
#include "http/page.html.inc"
    ;
constexpr std::string_view kStyle =
#include "http/page.css.inc"
    ;
constexpr std::string_view kScript =
#include "http/page.js.inc"
    ;

}  // namespace

Page page(std::string_view path) {
  if (path == "/" || path == "/index.html") return {kHtml, "text/html; charset=utf-8"};
  if (path == "/page.css") return {kStyle, "text/css; charset=utf-8"};
  if (path == "/page.js") return {kScript, "text/javascript; charset=utf-8"};
  return {};
}

}  // namespace mlc::http
