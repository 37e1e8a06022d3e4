// The values that the functions of emit/device_cases.h run on, and others, as devices' buffers hold them.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/strings.h"
#include "kernel/parse.h"
#include "kernel/passes/narrow_indices.h"
#include "support/gpu_kernels.h"

namespace mlc::testing {

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline float f32_at(const Bytes& bytes, size_t i) {
  float x;
  std::memcpy(&x, &bytes[4 * i], 4);
  return x;
}

// x, n, u, y and m.
inline std::vector<Bytes> case_buffers() {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 10);
  std::vector<float> x(64), y(64, -1);
  std::vector<int32_t> n(64), m(64, -1);
  std::vector<uint32_t> u(64);
  for (size_t i = 0; i < 64; ++i) {
    x[i] = i % 16 == 0 ? std::floor(normal(random)) + 0.5f : normal(random);
    n[i] = static_cast<int32_t>(random());
    u[i] = static_cast<uint32_t>(random());
  }
  return {bytes_of(x), bytes_of(n), bytes_of(u), bytes_of(y), bytes_of(m)};
}

// y = x + step, for 4 elements a row.
inline kernel::Function counting(const std::string& name, int64_t step) {
  return kernel::narrow_indices(kernel::parse(
      str("kernel @", name,
          "(%x: i32[(rows * 4)], %y: out i32[(rows * 4)]) dims(rows) tiles(rows) scratch(0) { "
          "grid %g = 0, $rows { thread %t = 0, 4 { let %i = ((%g * 4) + %t) %y[%i] = (%x[%i] + ",
          step, ":i32) } } }")));
}

}  // namespace mlc::testing
