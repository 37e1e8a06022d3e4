// Types and ranges of fields.
#include "service/openai/fields.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

// One or two neighbouring letters wrong, missing or too many.
bool is_typo(const std::string& name, const std::string& meant) {
  const size_t shorter = std::min(name.size(), meant.size());
  size_t head = 0, tail = 0;
  while (head < shorter && name[head] == meant[head]) ++head;
  while (tail < shorter - head && name[name.size() - 1 - tail] == meant[meant.size() - 1 - tail]) ++tail;
  return shorter > 3 && head + tail + 2 >= std::max(name.size(), meant.size());
}

}  // namespace

const Json* Fields::get(const char* key) {
  known_.insert(key);
  return find(object_, key);
}

void Fields::fail(ApiError error) {
  if (!failed()) error_ = std::move(error);
}

void Fields::wrong(const char* key, const Json& found, const std::string& expected) {
  fail(wrong_value(path_ + key, found, expected));
}

void Fields::read(const char* key, bool& target) {
  const Json* v = get(key);
  if (!v) return;
  if (!v->is_boolean()) return wrong(key, *v, "true or false");
  target = v->get<bool>();
}

void Fields::read(const char* key, std::string& target) {
  const Json* v = get(key);
  if (!v) return;
  if (!v->is_string()) return wrong(key, *v, "a string");
  target = v->get<std::string>();
}

void Fields::read(const char* key, int64_t& target, int64_t low, int64_t high) {
  const Json* v = get(key);
  if (!v) return;
  const std::optional<int64_t> number = find_int(object_, key);
  if (!number || *number < low || *number > high)
    return wrong(key, *v,
                 high == INT64_MAX ? str("a whole number of ", low, " or more")
                                   : str("a whole number from ", low, " to ", high));
  target = *number;
}

void Fields::read(const char* key, double& target, double low, double high) {
  const Json* v = get(key);
  if (!v) return;
  const double number = v->is_number() ? v->get<double>() : NAN;
  if (!(number >= low && number <= high)) return wrong(key, *v, str("a number from ", low, " to ", high));
  target = number;
}

void Fields::skip(std::initializer_list<const char*> keys) {
  for (const char* key : keys) known_.insert(key);
}

void Fields::refuse(const char* key, const Json& neutral, const std::string& why) {
  const Json* v = get(key);
  if (v && *v != neutral) fail(bad_field(path_ + key, str(path_, key, ": ", why)));
}

ApiError Fields::finish(std::vector<std::string>* unknown) {
  if (failed() || !object_.is_object()) return error_;
  for (const auto& item : object_.items()) {
    const std::string& key = item.key();
    if (known_.contains(key)) continue;
    for (const std::string& meant : known_)
      if (is_typo(key, meant))
        return bad_field(path_ + key, str(path_, key, ": unknown field; did you mean '", meant, "'?"));
    if (unknown) unknown->push_back(key);
  }
  return error_;
}

ApiError read_token_ids(const Json& list, const std::string& path, std::vector<int32_t>& ids) {
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      return wrong_value(path, id, "token ids");
    ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  return {};
}

}  // namespace mlc::serve::openai
