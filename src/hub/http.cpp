// libcurl, called through its addresses.
#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <mutex>

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::hub {
namespace {

constexpr int kMostRedirects = 10;
constexpr long kConnectSeconds = 20;
constexpr long kSilentSeconds = 60;  // without a byte: the connection is given up

// The functions of libcurl that are called.
struct Library {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&curl_easy_reset) easy_reset = nullptr;
  decltype(&curl_easy_setopt) easy_setopt = nullptr;
  decltype(&curl_easy_perform) easy_perform = nullptr;
  decltype(&curl_easy_getinfo) easy_getinfo = nullptr;
  decltype(&curl_easy_strerror) easy_strerror = nullptr;
  decltype(&curl_slist_append) slist_append = nullptr;
  decltype(&curl_slist_free_all) slist_free_all = nullptr;

  template <typename Function>
  static bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(platform::find_symbol(library, name));
    return function != nullptr;
  }
  bool load() {
    void* lib =
        platform::open_driver({"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib", "libcurl.dll"});
    return lib && find(lib, "curl_global_init", global_init) && find(lib, "curl_easy_init", easy_init) &&
           find(lib, "curl_easy_cleanup", easy_cleanup) && find(lib, "curl_easy_reset", easy_reset) &&
           find(lib, "curl_easy_setopt", easy_setopt) && find(lib, "curl_easy_perform", easy_perform) &&
           find(lib, "curl_easy_getinfo", easy_getinfo) && find(lib, "curl_easy_strerror", easy_strerror) &&
           find(lib, "curl_slist_append", slist_append) && find(lib, "curl_slist_free_all", slist_free_all) &&
           global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  }
};

// nullptr where there is none.
const Library* library() {
  static const Library* loaded = []() -> const Library* {
    static Library found;
    return found.load() ? &found : nullptr;
  }();
  return loaded;
}

// "https://host:port" of an address.
std::string origin_of(const std::string& url) {
  const size_t start = url.find("://");
  return start == std::string::npos ? "" : url.substr(0, url.find_first_of("/?#", start + 3));
}

// Where a Location header leads to.
std::string resolve(const std::string& base, const std::string& location) {
  if (location.find("://") != std::string::npos) return location;
  if (location.starts_with("//")) return base.substr(0, base.find("://") + 1) + location;
  if (location.starts_with("/")) return origin_of(base) + location;
  const std::string plain = base.substr(0, base.find_first_of("?#"));
  return plain.substr(0, plain.rfind('/') + 1) + location;
}

// Whether `url` is on the host that the token is for: the same beginning, and what follows is a path.
bool may_see_token(const std::string& url, const std::string& origin) {
  return !origin.empty() && url.starts_with(origin) &&
         (url.size() == origin.size() || url[origin.size()] == '/' || url[origin.size()] == '?');
}

// What the callbacks of one request share.
struct Transfer {
  const HttpClient::Receiver* receiver;
  HttpAnswer answer;
  Headers headers;
  bool begun = false, stopped = false;
};

size_t on_header(char* at, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::string line(trim(std::string_view(at, size * count)));
  const size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) {  // of a proxy, or after a 100
    transfer.headers.clear();
    const size_t space = line.find(' ');
    int status = 0;
    if (space != std::string::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), status);
    transfer.answer.status = status;
  } else if (colon != std::string::npos) {
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    transfer.headers[name] = std::string(trim(std::string_view(line).substr(colon + 1)));
  }
  return size * count;
}

size_t on_data(char* at, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const int status = transfer.answer.status;
  if (status != 200 && status != 206) return size * count;  // a page that says what is wrong
  const HttpClient::Receiver& receiver = *transfer.receiver;
  bool more = transfer.begun || receiver.begin(status, transfer.headers);
  transfer.begun = true;
  more = more && receiver.data({reinterpret_cast<const std::byte*>(at), size * count});
  transfer.stopped = !more;
  return more ? size * count : 0;
}

HttpAnswer::Failure failure_of(CURLcode code, const Transfer& transfer) {
  using Failure = HttpAnswer::Failure;
  if (transfer.stopped) return Failure::kStopped;
  switch (code) {
    case CURLE_OK: return Failure::kNone;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return Failure::kRefused;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR: return Failure::kUnreachable;
    default:
      return transfer.answer.status == 0 && code == CURLE_OPERATION_TIMEDOUT ? Failure::kUnreachable
                                                                             : Failure::kCut;
  }
}

}  // namespace

struct HttpClient::Curl {
  const Library& lib;
  CURL* handle;
};

HttpClient::HttpClient(std::unique_ptr<Curl> curl) : curl_(std::move(curl)) {}
HttpClient::~HttpClient() { curl_->lib.easy_cleanup(curl_->handle); }

Result<std::unique_ptr<HttpClient>> HttpClient::create() {
  const Library* lib = library();
  CURL* handle = lib ? lib->easy_init() : nullptr;
  if (!handle)
    return Status::error(
        "libcurl.so.4: not found, and downloads need it; install Debian's libcurl4 or its like");
  return std::unique_ptr<HttpClient>(new HttpClient(std::make_unique<Curl>(*lib, handle)));
}

HttpAnswer HttpClient::get_once(const HttpRequest& request, const std::string& url, const Receiver& receiver,
                                std::string& location) {
  const Library& lib = curl_->lib;
  CURL* handle = curl_->handle;
  Transfer transfer{.receiver = &receiver, .answer = {}, .headers = {}};
  lib.easy_reset(handle);
  char error[CURL_ERROR_SIZE] = "";
  curl_slist* list = nullptr;
  if (!request.token.empty() && may_see_token(url, request.token_origin))
    list = lib.slist_append(list, ("Authorization: Bearer " + request.token).c_str());
  lib.easy_setopt(handle, CURLOPT_URL, url.c_str());
  lib.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  lib.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  lib.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  lib.easy_setopt(handle, CURLOPT_USERAGENT, "mlc-llm-cpp");
  lib.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  lib.easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  lib.easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, kSilentSeconds);
  lib.easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
  lib.easy_setopt(handle, CURLOPT_HTTPHEADER, list);
  lib.easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  lib.easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  lib.easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  lib.easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  const std::string range = str(request.offset, "-");
  if (request.offset > 0) lib.easy_setopt(handle, CURLOPT_RANGE, range.c_str());
  const CURLcode code = lib.easy_perform(handle);
  lib.slist_free_all(list);
  transfer.answer.failure = failure_of(code, transfer);
  if (code != CURLE_OK) transfer.answer.why = *error ? error : lib.easy_strerror(code);
  // An empty body calls nobody.
  const bool good = transfer.answer.status == 200 || transfer.answer.status == 206;
  if (code == CURLE_OK && good && !transfer.begun &&
      !receiver.begin(transfer.answer.status, transfer.headers))
    transfer.answer.failure = HttpAnswer::Failure::kStopped;
  location = header(transfer.headers, "location");
  transfer.answer.headers = std::move(transfer.headers);
  return std::move(transfer.answer);
}

HttpAnswer HttpClient::get(const HttpRequest& request, const Receiver& receiver) {
  std::string url = request.url;
  Headers first;
  for (int redirects = 0;; ++redirects) {
    std::string location;
    HttpAnswer answer = get_once(request, url, receiver, location);
    if (redirects == 0) first = answer.headers;
    answer.first_headers = first;
    const bool redirected = answer.failure == HttpAnswer::Failure::kNone && answer.status >= 300 &&
                            answer.status < 400 && answer.status != 304 && !location.empty();
    if (!redirected) return answer;
    const std::string next = resolve(url, location);
    answer.failure = HttpAnswer::Failure::kRefused;
    if (redirects == kMostRedirects) return answer.why = "more than ten redirects", answer;
    if (!next.starts_with("https://") && (!next.starts_with("http://") || url.starts_with("https://")))
      return answer.why =
                 str("a redirect from ", origin_of(url), " to ", origin_of(next), " is not followed"),
             answer;
    url = next;
  }
}

std::string header(const Headers& headers, const std::string& name) {
  const auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

}  // namespace mlc::hub
