// A reader of the .npy files that hold reference arrays (NumPy format 1.0, C order), for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"

namespace mlc::testing {

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> floats;  // '<f4'
  std::vector<int32_t> ints;  // '<i4', and '<i8' whose values fit
};

// Throws std::runtime_error on anything but a C-order array of the three types above.
inline NpyArray read_npy(const std::string& path) {
  Result<std::string> file = read_file(path);
  if (!file.is_ok()) throw std::runtime_error(file.status().message());
  const std::string& bytes = *file;
  if (bytes.size() < 10 || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0)
    throw std::runtime_error(path + ": not a .npy file of version 1.0");
  const size_t length = static_cast<uint8_t>(bytes[8]) + 256 * static_cast<uint8_t>(bytes[9]);
  const std::string header = bytes.substr(10, length);
  if (header.find("'fortran_order': False") == std::string::npos)
    throw std::runtime_error(path + ": not in C order");
  NpyArray array;
  size_t count = 1, at = header.find('(', header.find("'shape'"));
  while (at != std::string::npos && header[++at] != ')') {
    array.shape.push_back(std::stoll(header.substr(at)));
    count *= static_cast<size_t>(array.shape.back());
    at = header.find_first_of(",)", at);
    if (header[at] == ')') break;
    while (header[at + 1] == ' ') ++at;
  }
  const char* data = bytes.data() + 10 + length;
  auto expect_bytes = [&](size_t element) {
    if (bytes.size() - 10 - length != count * element) throw std::runtime_error(path + ": wrong size");
  };
  if (header.find("'<f4'") != std::string::npos) {
    expect_bytes(4);
    array.floats.resize(count);
    std::memcpy(array.floats.data(), data, 4 * count);
  } else if (header.find("'<i4'") != std::string::npos) {
    expect_bytes(4);
    array.ints.resize(count);
    std::memcpy(array.ints.data(), data, 4 * count);
  } else if (header.find("'<i8'") != std::string::npos) {
    expect_bytes(8);
    for (size_t i = 0; i < count; ++i) {
      int64_t value;
      std::memcpy(&value, data + 8 * i, 8);
      array.ints.push_back(static_cast<int32_t>(value));
    }
  } else {
    throw std::runtime_error(path + ": element type not read here");
  }
  return array;
}

}  // namespace mlc::testing
