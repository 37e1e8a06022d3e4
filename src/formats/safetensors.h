// safetensors: the header of a file of named tensors, checked completely before any tensor is touched.
//
// Layout (little-endian):
//   1. u64  N, the bytes of the header; N <= 100,000,000
//   2. N bytes of JSON, padded with spaces:
//        {"__metadata__": ANY?, NAME: {"dtype": TEXT, "shape": [int...], "data_offsets": [begin,
//        end], KEY: ANY...}, ...}
//   3. the data; begin and end count from byte 8 + N
//
// What is refused, each in one sentence with file, tensor, found and expected: a header longer than the limit
// or the file; JSON of any other form; duplicate names; shapes whose product overflows; end -
// begin other than product(shape) * size of the dtype; offsets outside the file; gaps, overlaps, and bytes
// after the last tensor; more than 2^18 tensors (the largest published models have under 2^17); more than 16
// dimensions. A dtype that is not known makes an entry of bytes with the reason in `unread`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"

namespace mlc {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  std::string type;    // the file's word: "BF16"
  std::string unread;  // "" or why the values cannot be read ("has dtype 'F4'; expected ..."): dtype and
                       // shape are of bytes
  std::vector<int64_t> shape;  // outermost first
  uint64_t offset;             // of the first byte, from the start of the file
  uint64_t size;               // bytes, = product(shape) * size_of(dtype)
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;                      // by offset
  std::vector<std::pair<std::string, std::string>> metadata;  // the texts of "__metadata__", in file order
};

// `bytes` is the whole file, `what` its name for messages.
Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes, const std::string& what);

}  // namespace mlc
