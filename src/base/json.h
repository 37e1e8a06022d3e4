// JSON through nlohmann's ordered_json (key order is kept: MLC's files have one), with accessors that cannot
// throw.
//
// Read as Python's json module reads it: NaN, Infinity, numbers beyond a double, halves of surrogate pairs
// and, of a key that stands twice, the last value. A byte order mark is skipped.
#pragma once

#define JSON_NOEXCEPTION 1
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

using Json = nlohmann::ordered_json;

// `what` names the source in the message, usually a file path. Nesting deeper than 1000 levels (as deep as
// Python goes) is refused.
Result<Json> parse_json(std::string_view text, const std::string& what);
// The same text in standard JSON, nullopt where it is that already: no byte order mark, U+FFFD for half a
// surrogate pair, and for numbers that are not finite a string of two NUL characters and "NaN", "Infinity" or
// "-Infinity".
std::optional<std::string> standard_json(std::string_view text);
Result<Json> read_json_file(const std::string& path);

// Field of an object, or nullptr when absent, null, or `object` is not an object.
const Json* find(const Json& object, std::string_view key);

// Optional fields: nullopt when absent or null; the type is checked by the Result forms below, which refuse
// NaN and infinity.
std::optional<int64_t> find_int(const Json& object, std::string_view key);
std::optional<double> find_number(const Json& object, std::string_view key);
std::optional<bool> find_bool(const Json& object, std::string_view key);
std::optional<std::string> find_string(const Json& object, std::string_view key);

// Required fields: an error names `what`, the key, what was found and what was expected.
Result<int64_t> get_int(const Json& object, std::string_view key, const std::string& what);
Result<double> get_number(const Json& object, std::string_view key, const std::string& what);
Result<std::string> get_string(const Json& object, std::string_view key, const std::string& what);
Result<const Json*> get_array(const Json& object, std::string_view key, const std::string& what);
Result<const Json*> get_object(const Json& object, std::string_view key, const std::string& what);

// The text of any value: bytes that are not UTF-8 become U+FFFD (Json::dump would end the program). `indent`
// below 0: one line; `ascii`: other characters by number, as \u and four hex digits.
std::string json_text(const Json& json, int indent = -1, bool ascii = false);

}  // namespace mlc
