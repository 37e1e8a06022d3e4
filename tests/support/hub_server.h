// A model hub of one process: answers the requests that a download makes, and errs where a test asks it to.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "hub/digest.h"
#include "support/temp_folder.h"

namespace mlc::testing {

// How one path is answered.
struct HubPage {
  std::string body;
  std::string headers;       // further lines, each with "\r\n"
  int status = 200;          // any but 200: the body is sent whole, ranges are not looked at
  int64_t cut_after = -1;    // bytes after which the connection ends
  int cuts = 0;              // of how many requests
  bool takes_ranges = true;  // else all of it is sent
};

class HubServer {
 public:
  HubServer() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 64);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~HubServer() {
    stop_ = true;
    thread_.join();
    for (std::thread& t : workers_) t.join();
    ::close(listener_);
  }
  HubServer(const HubServer&) = delete;
  HubServer& operator=(const HubServer&) = delete;

  std::string url() const { return str("http://127.0.0.1:", port_); }

  void set(const std::string& path, HubPage page) {
    std::lock_guard lock(mutex_);
    pages_[path] = std::move(page);
  }
  // A repository with its list; digests are right unless `lfs_digest` says others.
  void add_repo(const std::string& repo, const std::map<std::string, std::string>& files,
                const std::map<std::string, std::string>& digests = {}) {
    Json siblings = Json::array();
    for (const auto& [name, body] : files) {
      const bool large = !name.ends_with(".json");
      const std::string kind(large ? 64 : 40, '0');
      std::string digest = hub::file_digest(folder_.write("body", body), kind).value();
      if (auto it = digests.find(name); it != digests.end()) digest = it->second;
      Json entry = {{"rfilename", name}, {"size", static_cast<int64_t>(body.size())}};
      if (large)
        entry["lfs"] = {{"sha256", digest}, {"size", static_cast<int64_t>(body.size())}};
      else
        entry["blobId"] = digest;
      siblings.push_back(entry);
      set(str("/", repo, "/resolve/", commit(), "/", name), {.body = body, .headers = {}});
    }
    set(str("/api/models/", repo, "/revision/main?blobs=true"),
        {.body = json_text({{"sha", commit()}, {"siblings", siblings}}), .headers = {}});
  }
  static std::string commit() { return std::string(40, 'c'); }

  // Every request: its first line and its headers.
  std::vector<std::string> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  // How many of them contain `text`.
  int count(const std::string& text) const {
    int found = 0;
    for (const std::string& r : requests()) found += r.find(text) != std::string::npos;
    return found;
  }

 private:
  void run() {
    while (!stop_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection >= 0) workers_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(int connection) {
    std::string text;
    while (!stop_ && text.find("\r\n\r\n") == std::string::npos) {
      pollfd waiting{connection, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      char piece[4096];
      const ssize_t got = ::recv(connection, piece, sizeof piece, 0);
      if (got <= 0) break;
      text.append(piece, static_cast<size_t>(got));
    }
    if (text.find("\r\n\r\n") != std::string::npos) answer(connection, text);
    ::close(connection);
  }

  void answer(int connection, const std::string& text) {
    HubPage page{.body = "no such page", .headers = {}, .status = 404};
    bool cut = false;
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(text);
      const std::vector<std::string> words = split(text.substr(0, text.find("\r\n")), ' ');
      if (auto it = pages_.find(words.size() > 1 ? words[1] : ""); it != pages_.end()) {
        cut = it->second.cuts > 0;
        it->second.cuts -= cut;
        page = it->second;
      }
    }
    size_t from = 0;
    const size_t range = text.find("Range: bytes=");
    if (page.status == 200 && page.takes_ranges && range != std::string::npos)
      from = std::strtoul(text.c_str() + range + 13, nullptr, 10);
    std::string head = page.headers;
    int status = page.status;
    if (from > 0 && from >= page.body.size()) {
      status = 416, page.body.clear(), from = 0;
    } else if (from > 0) {
      status = 206;
      head += str("Content-Range: bytes ", from, "-", page.body.size() - 1, "/", page.body.size(), "\r\n");
    }
    std::string out =
        str("HTTP/1.1 ", status, " Said\r\nConnection: close\r\nContent-Length: ", page.body.size() - from,
            "\r\n", head, "\r\n");
    std::string body = page.body.substr(from);
    if (cut) body.resize(std::min(body.size(), static_cast<size_t>(page.cut_after)));
    out += body;
    for (size_t sent = 0; sent < out.size();) {
      const ssize_t n = ::send(connection, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }

  TempFolder folder_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, HubPage> pages_;
  std::vector<std::string> requests_;
  std::vector<std::thread> workers_;  // of the accepting thread until it has ended
  std::thread thread_;
};

}  // namespace mlc::testing
