// JSON accessors that return errors instead of throwing.
#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/file.h"
#include "base/file_kind.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr int kMaxDepth = 1000;  // deeper nesting is refused before the recursive parser sees it

// The deepest bracket nesting outside strings.
int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

std::string found(const Json* value) { return value ? std::string(value->type_name()) : "nothing"; }

Status wrong(std::string_view key, const std::string& what, const Json* value, std::string_view expected) {
  std::string seen = found(value);
  if (value && value->is_number_float() && !std::isfinite(value->get<double>()))
    seen += std::isnan(value->get<double>()) ? " NaN" : value->get<double>() < 0 ? " -Infinity" : " Infinity";
  else if (value && value->is_primitive())
    seen += " " + json_text(*value).substr(0, 40);
  return Status::error(str(what, ": key '", key, "' has ", seen, ", expected ", expected));
}

// Puts the numbers back that standard_json wrote as strings.
void restore_numbers(Json& json) {
  using namespace std::string_view_literals;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (Json& value : json) {
    if (value.is_structured()) restore_numbers(value);
    if (!value.is_string()) continue;
    const std::string& text = value.get_ref<const std::string&>();
    if (text == "\0\0NaN"sv)
      value = std::numeric_limits<double>::quiet_NaN();
    else if (text == "\0\0Infinity"sv)
      value = kInfinity;
    else if (text == "\0\0-Infinity"sv)
      value = -kInfinity;
  }
}

// Why a text is no JSON, as far as its beginning tells.
std::string no_json(std::string_view text) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    return "UTF-16 text, expected JSON in UTF-8; save it again as UTF-8";
  FileKind kind = file_kind(text.substr(0, kProbeBytes), text.size());
  if (kind == FileKind::kEmpty || trim(text).empty()) return "empty, expected JSON; download it again";
  if (kind == FileKind::kJson || kind == FileKind::kText || kind == FileKind::kOther) {
    if (!is_valid_utf8(text))
      return "not valid JSON: not UTF-8 throughout; the file is damaged or of another encoding";
    return "not valid JSON; the file is damaged or truncated";
  }
  return str("not valid JSON but ", kind_name(kind), "; expected a JSON text");
}

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& what) {
  RETURN_IF_ERROR(check_not_stand_in(text, text.size(), what));
  if (nesting_depth(text) > kMaxDepth)
    return Status::error(
        str(what, ": JSON nested deeper than ", kMaxDepth, " levels; the file is damaged or hostile"));
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) return json;
  auto standard = standard_json(text);
  if (standard) json = Json::parse(*standard, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Status::error(str(what, ": ", no_json(text)));
  Json whole = Json::array({std::move(json)});  // a number may stand alone
  restore_numbers(whole);
  return std::move(whole[0]);
}

Result<Json> read_json_file(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, read_file(path));
  return parse_json(text, path);
}

const Json* find(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::optional<int64_t> find_int(const Json& object, std::string_view key) {
  const Json* v = find(object, key);
  if (!v) return std::nullopt;
  if (v->is_number_unsigned() && v->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  if (v->is_number_integer()) return v->get<int64_t>();
  if (v->is_number_float()) {
    double d = v->get<double>();
    if (d == std::floor(d) && std::fabs(d) < 0x1p53) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

std::optional<double> find_number(const Json& object, std::string_view key) {
  const Json* v = find(object, key);
  return v && v->is_number() ? std::optional(v->get<double>()) : std::nullopt;
}

std::optional<bool> find_bool(const Json& object, std::string_view key) {
  const Json* v = find(object, key);
  return v && v->is_boolean() ? std::optional(v->get<bool>()) : std::nullopt;
}

std::optional<std::string> find_string(const Json& object, std::string_view key) {
  const Json* v = find(object, key);
  return v && v->is_string() ? std::optional(v->get<std::string>()) : std::nullopt;
}

Result<int64_t> get_int(const Json& object, std::string_view key, const std::string& what) {
  if (auto v = find_int(object, key)) return *v;
  return wrong(key, what, find(object, key), "an integer");
}

Result<double> get_number(const Json& object, std::string_view key, const std::string& what) {
  if (auto v = find_number(object, key); v && std::isfinite(*v)) return *v;
  return wrong(key, what, find(object, key), "a number");
}

Result<std::string> get_string(const Json& object, std::string_view key, const std::string& what) {
  if (auto v = find_string(object, key)) return *v;
  return wrong(key, what, find(object, key), "a string");
}

Result<const Json*> get_array(const Json& object, std::string_view key, const std::string& what) {
  const Json* v = find(object, key);
  if (v && v->is_array()) return v;
  return wrong(key, what, v, "an array");
}

Result<const Json*> get_object(const Json& object, std::string_view key, const std::string& what) {
  const Json* v = find(object, key);
  if (v && v->is_object()) return v;
  return wrong(key, what, v, "an object");
}

namespace {

// As Python writes them: the fewest digits that read back as the same double, with an exponent below 1e-4 and
// from 1e16 on. JSON has no infinities and no NaN.
std::string number_text(double value) {
  if (!std::isfinite(value)) return "null";
  char buffer[32] = {};  // ends with a zero, as atoi wants
  const char* const text = buffer;
  const char* end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const char* e = std::find(text, end, 'e');
  const bool negative = text[0] == '-';
  std::string digits(1, text[negative]);
  if (text[negative + 1] == '.') digits.append(text + negative + 2, e);
  const int exponent = std::atoi(e + 1);
  if (exponent < -4 || exponent >= 16) return std::string(text, end);
  if (exponent < 0) {
    digits.insert(0, static_cast<size_t>(-exponent), '0');
  } else if (digits.size() < static_cast<size_t>(exponent) + 2) {
    digits.resize(static_cast<size_t>(exponent) + 2, '0');
  }
  digits.insert(static_cast<size_t>(std::max(exponent, 0)) + 1, ".");
  return (negative ? "-" : "") + digits;
}

class JsonWriter {
 public:
  JsonWriter(int indent, bool ascii) : indent_(indent), ascii_(ascii) {}

  void write(const Json& json, size_t depth) {
    if (json.is_number_float()) {
      out_ += number_text(json.get<double>());
    } else if (json.is_structured() && !json.empty()) {
      write_items(json, depth);
    } else {
      out_ += json.dump(-1, ' ', ascii_, Json::error_handler_t::replace);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  void write_items(const Json& json, size_t depth) {
    out_ += json.is_object() ? '{' : '[';
    const char* comma = "";
    for (const auto& item : json.items()) {
      out_ += comma;
      comma = ",";
      new_line(depth + 1);
      if (json.is_object()) {
        write(item.key(), depth + 1);
        out_ += indent_ < 0 ? ":" : ": ";
      }
      write(item.value(), depth + 1);
    }
    new_line(depth);
    out_ += json.is_object() ? '}' : ']';
  }
  void new_line(size_t depth) {
    if (indent_ >= 0) out_ += '\n' + std::string(depth * static_cast<size_t>(indent_), ' ');
  }

  int indent_;
  bool ascii_;
  std::string out_;
};

}  // namespace

std::string json_text(const Json& json, int indent, bool ascii) {
  JsonWriter writer(indent, ascii);
  writer.write(json, 0);
  return writer.take();
}

}  // namespace mlc
