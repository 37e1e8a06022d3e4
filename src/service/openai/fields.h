// Reads the fields of a request's JSON object one by one; the first that is wrong is the error of all.
// An absent field and null leave the target as it is.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "service/openai/api_error.h"

namespace mlc::serve::openai {

class Fields {
 public:
  // `path` is put in front of names in errors ("stream_options."). The object must outlive this.
  explicit Fields(const Json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  // The value, nullptr where absent or null; from now on the field is a known one.
  const Json* get(const char* key);
  void read(const char* key, bool& target);
  void read(const char* key, std::string& target);
  void read(const char* key, int64_t& target, int64_t low, int64_t high = INT64_MAX);
  void read(const char* key, double& target, double low, double high);
  // Fields that are taken and mean nothing here.
  void skip(std::initializer_list<const char*> keys);
  // A field whose function is not built: refused with `why` unless it has the neutral value (or is absent).
  void refuse(const char* key, const Json& neutral, const std::string& why);

  void fail(ApiError error);
  void wrong(const char* key, const Json& found, const std::string& expected);
  bool failed() const { return error_.is_error(); }
  // The first error. Else, of the fields that nobody asked for: one that is nearly a known one is refused.
  // `unknown` receives the others.
  ApiError finish(std::vector<std::string>* unknown = nullptr);

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string> known_;
  ApiError error_;
};

// A list of token ids, added to `ids`. `path` starts the error.
ApiError read_token_ids(const Json& list, const std::string& path, std::vector<int32_t>& ids);

}  // namespace mlc::serve::openai
