// Finds where JSON values and the parts of a call's object end, while their text still comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlc {

// The extent of one JSON value. Nothing is validated beyond brackets and quotes.
class JsonExtent {
 public:
  // How many bytes of `text`, the next of the value, belong to it.
  size_t put(std::string_view text);
  bool done() const { return done_; }

 private:
  std::string open_;  // closing brackets that are awaited
  bool begun_ = false, string_ = false, escaped_ = false, scalar_ = false, done_ = false;
};

// {"name": "f", "arguments": {...}}: the name, and the text of the arguments as it comes. `parameters` is
// another name of `arguments`; a text of JSON instead of an object is unwrapped at its end.
class JsonCall {
 public:
  // How many bytes of `text` belong to the object, which begins with the first byte ever put.
  size_t put(std::string_view text);
  bool done() const { return done_; }
  const std::string& name() const { return name_; }  // "" until it is known
  std::string take_arguments();                      // new text of them; none before the name is known
  const std::string& raw() const { return raw_; }    // all so far, until the name is known

 private:
  enum class Place : uint8_t { kKey, kColon, kValue, kComma };
  void put_value(char c);
  void end_value();

  Place place_ = Place::kKey;
  JsonExtent extent_;
  bool begun_ = false, done_ = false, wrapped_ = false;
  std::string key_, value_, name_, arguments_, raw_;
};

}  // namespace mlc
