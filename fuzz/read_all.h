// Reads every tensor of a checkpoint held in memory, as the converter would: whole, by rows, and as GGUF
// blocks.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include "formats/checkpoint.h"
#include "fuzz.h"

namespace mlc::fuzz {

// A file in memory with a path, written anew for each input.
inline std::string memory_file(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("fuzz", 0);
  internal_check(fd >= 0 && ftruncate(fd, 0) == 0, "memfd_create works here");
  internal_check(pwrite(fd, data, size, 0) == static_cast<ssize_t>(size), "memory files hold any input");
  return "/proc/self/fd/" + std::to_string(fd);
}

inline void read_all(const uint8_t* data, size_t size, SourceFormat format,
                     const Packing* packing = nullptr) {
  const std::string path = memory_file(data, size);
  auto opened = Checkpoint::open(path, format);
  if (!opened.is_ok()) return;
  if (packing) {
    const Status status = (*opened)->add_packed(*packing);
    if (!status.is_ok())
      return internal_check(status.message().starts_with(path), "a message starts with the file");
  }
  const Checkpoint& checkpoint = *opened.value();
  std::vector<std::byte> buffer;
  uint8_t sum = 0;
  for (int i = 0; i < static_cast<int>(checkpoint.tensors().size()); ++i) {
    const SourceTensor& tensor = checkpoint.tensors()[static_cast<size_t>(i)];
    auto whole = checkpoint.read(i, buffer);
    internal_check(static_cast<int64_t>(whole.size()) == tensor.byte_size, "a tensor has the size it claims");
    for (std::byte b : whole) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
    int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
    auto half = checkpoint.read_rows(i, rows / 2, rows, buffer);
    for (std::byte b : half) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
    const int64_t width = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (rows > 0 && width > 0) {
      const int64_t lines = tensor.shape.size() < 3 ? rows : tensor.byte_size / size_of(tensor.dtype) / width;
      for (std::byte b : checkpoint.read_lines(i, lines / 3, lines, buffer))
        sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(b));
    }
    if (auto blocks = checkpoint.blocks(i); blocks && blocks->rows > 0) {
      int64_t row = blocks->stored_row(blocks->rows - 1);
      internal_check(row >= 0 && row < blocks->rows, "rows move inside their tensor");
    }
    checkpoint.release(i);
  }
  [[maybe_unused]] static volatile uint8_t keep;
  keep = sum;
}

}  // namespace mlc::fuzz
