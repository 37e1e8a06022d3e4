// Errors as values: Status is "ok" or one sentence for the user; Result<T> is a T or such a Status.
//
// A message starts with the flag, file or op it concerns, says what was found and what was expected, and ends
// with what to do. It is printed as it is, once, at the outermost face.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace mlc {

class [[nodiscard]] Status {
 public:
  Status() = default;
  static Status ok() { return {}; }
  // Control bytes and bytes that are not UTF-8 become \xNN: no name out of a file breaks the line or drives
  // the terminal.
  static Status error(std::string_view message);
  bool is_ok() const { return !failed_; }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
  bool failed_ = false;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: a value is a result
  Result(Status status) : status_(std::move(status)) {  // NOLINT: so is an error
    internal_check(!status_.is_ok(), "a Result without a value needs an error");
  }
  bool is_ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & {
    internal_check(is_ok(), status_.message());
    return *value_;
  }
  const T& value() const& {
    internal_check(is_ok(), status_.message());
    return *value_;
  }
  T&& value() && {
    internal_check(is_ok(), status_.message());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace mlc

// Returns the error of `expr` (a Status) from the enclosing function, if it is one.
#define RETURN_IF_ERROR(expr)                                             \
  do {                                                                    \
    if (::mlc::Status status_ = (expr); !status_.is_ok()) return status_; \
  } while (false)

#define MLC_CONCAT_INNER(a, b) a##b
#define MLC_CONCAT(a, b) MLC_CONCAT_INNER(a, b)
// ASSIGN_OR_RETURN(auto x, expr): x = the value of `expr` (a Result), or the enclosing function returns its
// error.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_IMPL(MLC_CONCAT(result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                          \
  if (!result.is_ok()) return result.status();   \
  lhs = std::move(result).value()
