// A temporary folder for a test: each has its own, since tests run beside each other.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

#include "base/temp_folder.h"

namespace mlc::testing {

class TempFolder : public mlc::TempFolder {
 public:
  TempFolder() : mlc::TempFolder(create().value()) {}
  // Writes a file of the folder; returns its path.
  std::string write(std::string_view name, std::string_view bytes) const {
    std::ofstream(file(name), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file(name);
  }
};

}  // namespace mlc::testing
