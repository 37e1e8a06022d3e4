// A folder for temporary files that goes away with its owner.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

// Owns one new, empty folder under MLC_TEMP_DIR (base/env.h), of a name that no other process or object has;
// removed with all it holds on destruction. A moved-from object owns nothing.
class TempFolder {
 public:
  // Fails with a sentence about MLC_TEMP_DIR when no folder can be made there.
  static Result<TempFolder> create();
  TempFolder(TempFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TempFolder& operator=(TempFolder&&) = delete;
  ~TempFolder();

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  explicit TempFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace mlc
