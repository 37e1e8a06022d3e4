// A client over a real socket, for tests of the server.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/strings.h"

namespace mlc::testing {

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0)
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
  }
  Client(Client&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), text_(std::move(other.text_)) {}
  ~Client() { leave(); }
  void leave() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  // Ends the connection so that what the other side sends then is an error there.
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave();
  }

  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // the server has said what it had to
      text.remove_prefix(static_cast<size_t>(n));
    }
  }
  void ask(const std::string& method, const std::string& path, const std::string& body = "",
           const std::string& headers = "") {
    send(str(method, " ", path, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n",
             body.empty() ? "" : "content-type: application/json\r\n", "content-length: ", body.size(),
             "\r\n", headers, "\r\n", body));
  }
  // What comes until it contains `end`, or the connection ends.
  std::string read_until(const std::string& end) {
    char buffer[4096];
    while (end.empty() || text_.find(end) == std::string::npos) {
      const ssize_t n = ::recv(socket_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      text_.append(buffer, static_cast<size_t>(n));
    }
    return text_;
  }
  std::string all() { return read_until(""); }
  // What comes until it is so many bytes, or the connection ends.
  std::string read_bytes(size_t count) {
    char buffer[256];
    while (text_.size() < count) {
      const ssize_t n = ::recv(socket_, buffer, std::min(sizeof buffer, count - text_.size()), 0);
      if (n <= 0) break;
      text_.append(buffer, static_cast<size_t>(n));
    }
    return text_;
  }

 private:
  int socket_;
  std::string text_;
};

inline std::string body_of(const std::string& answer) {
  const size_t at = answer.find("\r\n\r\n");
  return at == std::string::npos ? "" : answer.substr(at + 4);
}
inline bool has_status(const std::string& answer, int status) {
  return answer.starts_with(str("HTTP/1.1 ", status, " "));
}

}  // namespace mlc::testing
