// What every reader of untrusted bytes shares: arithmetic that cannot overflow, a cursor that cannot leave
// its file, and names made safe to print.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace mlc {

static_assert(std::endian::native == std::endian::little,
              "the file formats are little-endian and read in place");

inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// product(shape), or nullopt when a dimension is negative or the product does not fit in int64.
inline std::optional<uint64_t> element_count(std::span<const int64_t> shape) {
  uint64_t count = 1;
  bool empty = false;
  for (int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim == 0)
      empty = true;
    else if (__builtin_mul_overflow(count, static_cast<uint64_t>(dim), &count) || count > INT64_MAX)
      return std::nullopt;
  }
  return empty ? 0 : count;
}

// Whether [offset, offset + length) lies inside a file of `size` bytes; false on overflow.
inline bool range_inside(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// "[2, 3]"
std::string shown_shape(std::span<const int64_t> shape);
// A name from a file for a message: quoted, control bytes and invalid UTF-8 as \xNN, at most 100 bytes of it.
std::string shown_name(std::string_view name);

// Reads little-endian values front to back. A read past the end fails and moves nothing.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes, size_t position = 0)
      : bytes_(bytes), position_(position) {
    if (position_ > bytes_.size()) position_ = bytes_.size();
  }

  template <typename T>
  [[nodiscard]] bool read(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (remaining() < sizeof(T)) return false;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }
  [[nodiscard]] bool take(uint64_t length, std::span<const std::byte>& value) {
    if (remaining() < length) return false;
    value = bytes_.subspan(position_, static_cast<size_t>(length));
    position_ += static_cast<size_t>(length);
    return true;
  }
  [[nodiscard]] bool take_text(uint64_t length, std::string_view& value) {
    std::span<const std::byte> bytes;
    if (!take(length, bytes)) return false;
    value = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    return true;
  }
  size_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

 private:
  std::span<const std::byte> bytes_;
  size_t position_;
};

}  // namespace mlc
