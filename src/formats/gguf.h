// GGUF versions 2 and 3: metadata and tensor table of a file, checked completely before any tensor is
// touched.
//
// Layout (little-endian; text = u64 length, bytes):
//   1. "GGUF", u32 version, u64 tensor count, u64 metadata count
//   2. metadata count times: text key, u32 value type, value
//        value types: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool (one byte), 8 text,
//                     9 array (u32 element type, u64 count, elements), 10 u64, 11 i64, 12 f64
//   3. tensor count times: text name, u32 rank, rank x u64 dimensions (innermost first), u32 type, u64 offset
//   4. zero bytes up to a multiple of the alignment (metadata general.alignment, 32 when absent)
//   5. the data; offsets count from here and are multiples of the alignment
//
// What is refused, each in one sentence with file, key or tensor, found and expected: other versions and
// big-endian files; a count or length that the rest of the file cannot hold (checked before anything is
// allocated); duplicate tensors; value types above 12, whose length is not known; arrays nested deeper than
// 8; rank above 16; an innermost dimension that is not whole blocks; sizes that overflow; offsets that are
// misaligned, outside the file or overlapping; an alignment that is not a power of two in 8..2^20. What the
// model may not need does not stop: a tensor of a type that is not known here becomes bytes up to the next
// tensor, with the reason in `unread`; of a key that stands twice the first value counts, and a note says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/gguf_types.h"

namespace mlc {

// One metadata value. Text and arrays are views into the file's bytes.
struct GgufValue {
  enum class Type : uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kText,
    kArray,
    kU64,
    kI64,
    kF64
  };
  Type type = Type::kU8;
  int64_t integer = 0;                  // every integer type and bool; INT64_MAX for a u64 above it
  double number = 0;                    // f32, f64; integers too
  std::string_view text;                // kText
  Type element_type = Type::kU8;        // kArray
  uint64_t count = 0;                   // kArray
  std::span<const std::byte> elements;  // kArray of numbers: count packed little-endian values
  std::vector<std::string_view> texts;  // kArray of kText

  bool is_integer() const {
    return type != Type::kText && type != Type::kArray && type != Type::kF32 && type != Type::kF64;
  }
  bool is_number() const { return type != Type::kText && type != Type::kArray; }
  // Element i of an array that holds no texts (i < count); NaN where the elements are arrays.
  double element(uint64_t i) const;
};

struct GgufTensor {
  std::string_view name;  // view into the file's bytes
  GgufType type;
  std::vector<int64_t> shape;  // outermost first (reverse of the file)
  uint64_t offset;             // of the first byte, from the start of the file
  uint64_t size;               // bytes = product(shape) / block elements * block bytes
  std::string stored_type;     // the format's word: "Q4_0"
  std::string unread;  // "" or why the values cannot be read ("has type IQ2_XS; expected ..."): type and
                       // shape are of bytes
  int part = 0;        // of a split model: the file that holds it
};

struct Gguf {
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<std::pair<std::string_view, GgufValue>> metadata;  // in file order
  std::vector<GgufTensor> tensors;                               // by part, then offset
  std::vector<std::string> notes;                                // sentences without the file's name

  // nullptr when absent.
  const GgufValue* find(std::string_view key) const;
  std::string_view find_text(std::string_view key) const;  // "" when absent or not text
};

// `bytes` is the whole file and must outlive the result; `what` is its name for messages.
Result<Gguf> parse_gguf(std::span<const std::byte> bytes, const std::string& what);

}  // namespace mlc
