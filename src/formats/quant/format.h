// WeightFormat: how one weight [N, K] is stored, as a description from which everything that reads or writes
// it follows. docs/weight-formats.md has a row for every format we know of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace mlc {

struct WeightFormat {
  enum class Kind : uint8_t { kPlain, kGroup };
  enum class Code : uint8_t { kUnsigned, kSigned, kE4M3, kE5M2, kE2M1, kNf4, kIq4Nl };
  enum class Along : uint8_t { kK, kN };  // the axis that the codes of one word run along
  // In a word: lowest bits first; highest first; AWQ's 0, 2, 4, 6, 1, 3, 5, 7 from the lowest on; the low
  // halves of all words, then their high halves (GGUF); as a tensor core wants them (FasterTransformer).
  enum class Order : uint8_t { kLowFirst, kHighFirst, kAwq, kHalves, kFragments };
  enum class ScaleCode : uint8_t { kFloat, kNone, kE8M0, kU4, kU6, kU8, kS6, kS8 };
  enum class Zero : uint8_t {
    kNone,      // q * s
    kConstant,  // (q - zero_point()) * s
    kCodes,     // (q - z - zero_plus) * s, z packed along N as codes are
    kPaired,    // q * s + z: a u32 of two bfloat16, s low and z high
    kFloat,     // q * s + z
  };
  enum class Names : uint8_t {
    kMlc,
    kAwq,
    kBlockScale,  // weight, weight_scale_inv
    kGptq,
    kMxFp4,
    kNf4,
    kRwkv,
    kGguf,
    kScaled,      // weight, weight_scale
    kCompressed,  // compressed-tensors' pack-quantized
    kMlx,
  };

  Kind kind = Kind::kPlain;
  DType dtype = DType::kF32;  // kPlain: the elements; kGroup: the scales as values
  int bits = 0;               // of a code
  int group = 0;              // weights along K that share a scale; 0: all
  bool transposed = false;    // the records are stored as the transpose
  Code code = Code::kUnsigned;
  Along along = Along::kK;
  Order order = Order::kLowFirst;
  ScaleCode scale_code = ScaleCode::kFloat;
  Zero zero = Zero::kConstant;
  Names names = Names::kMlc;
  DType container = DType::kU32;
  uint8_t zero_plus = 0;
  bool factors = false;      // a minimum and a range per row and per column
  bool permuted = false;     // a record says which group each input belongs to
  bool blocks = false;       // a group's parts lie together in a block of bytes
  bool floored = false;      // the writer's scales are at least 1e-4 / zero_point() (2023)
  bool input_scale = false;  // a record has the scale of inputs (weights/quantize/input_scales.h)
  int16_t group_n = 1;       // weights along N that share a scale; 0: all
  int16_t super_group = 0;   // weights along K that share the scale of scales

  static WeightFormat plain(DType dtype) {
    WeightFormat format;
    format.dtype = dtype;
    return format;
  }
  // 3, 4 or 8 bits in groups of 40, 32 or 32 about a constant: MLC's own.
  static WeightFormat grouped(int bits, DType scales, bool transposed);
  // The same as 2023 had it (mlc-facts 3.12): a floor under scales, and 3-bit codes in u16 words.
  static WeightFormat grouped_2023(int bits, bool transposed);
  static WeightFormat awq(int group = 128);
  static WeightFormat paired(bool transposed);  // q4f32_0 of 2023
  // 8-bit floats: with one scale for a tensor (e4m3) or none (e5m2), and with one a block of the weight.
  static WeightFormat float8(Code code, bool input_scale = false);
  static WeightFormat float8_blocks();

  bool is_quantized() const { return kind == Kind::kGroup; }
  bool is_centered() const { return zero == Zero::kConstant; }  // about a constant zero point
  bool has_offsets() const { return zero > Zero::kConstant; }   // a value of its own for code 0 of each group
  bool is_float8() const { return code == Code::kE4M3 || code == Code::kE5M2; }
  // What codes count from where that is the same for all of them: 7 for 4 bits, 3 for 3, 127 for 8. Other
  // programs count from the middle, 2^(bits-1).
  int zero_point() const { return zero == Zero::kNone ? 0 : (1 << (bits - 1)) - (names == Names::kMlc); }
  // The largest code that readers take. Of 8 bits it is 254, so that a code less 127 is an i8.
  int top_code() const { return bits == 8 ? 2 * zero_point() : (1 << bits) - 1; }
  // Codes come ready in the checkpoint; we have no quantizer for the format.
  bool is_imported() const { return names == Names::kAwq; }
  int codes_per_word() const { return 8 * size_of(container) / bits; }
  // Codes of a row that kernels take at once, four u32 words: 32 of 4 bits, 40 of 3, 16 of 8.
  int kernel_group() const { return 4 * (32 / bits); }
  // What kernels compute with: groups of kernel_group() about a constant, or of 8-bit floats; where it has
  // another zero point, an offset for each group comes on top (kernel/lower/cpu/weight_layouts.h).
  WeightFormat for_kernels() const {
    WeightFormat f = grouped(bits, dtype, transposed && along == Along::kK);
    f.group = kernel_group();
    if (is_float8()) f.code = code, f.zero = Zero::kNone;
    return f;
  }
  // Whether the file's words and groups are those that kernels take.
  bool is_for_kernels() const { return is_centered() && container == DType::kU32 && group == kernel_group(); }
  int64_t groups(int64_t k) const { return group ? (k + group - 1) / group : 1; }
  // Of the rows, how many have scales of their own.
  int64_t scale_rows(int64_t n) const { return group_n ? (n + group_n - 1) / group_n : 1; }
  // Words of one row where codes run along K: whole groups, and as many as 4 words of it a group.
  int64_t words(int64_t k) const {
    const int64_t of_group = group ? group : k;
    return (of_group + codes_per_word() - 1) / codes_per_word() * groups(k);
  }
  // The same in bytes.
  int64_t row_bytes(int64_t k) const { return words(k) * size_of(container); }

  // "f16", "q4g32.f16", "q3g40.f16.kn"; what differs from MLC's group formats is spelled out behind:
  // "q4g128.f16.kn.along_n.awq.codes". The form used in IR text. parse() accepts that of described_formats().
  std::string text() const;
  static std::optional<WeightFormat> parse(std::string_view text);
  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;
};

// One record of a weight.
struct FormatRecord {
  enum class Part : uint8_t {
    kCodes,
    kScales,
    kZeros,
    kIndex,        // i32 [K]: the group of each input
    kTable,        // f32: the value of each code
    kScaleTable,   // f32 [256]: of each code of a scale
    kScaleScales,  // f32: of super_group weights each
    kInputScale,   // f32 [1]: no part of the weight
    kOther,
  };
  Part part;
  std::string name;  // after "X.": "q_weight"
  DType dtype;
  std::vector<int64_t> shape;
};

// The records of a weight of this shape (..., N, K; only the last two axes are stored in groups), in the
// order of the original's files. A plain weight is one, "weight".
std::vector<FormatRecord> format_records(const WeightFormat& format, const std::vector<int64_t>& shape);

// Every row of docs/weight-formats.md: a name for each, built or not.
struct DescribedFormat {
  std::string name;
  WeightFormat format;
  bool built = false;  // converted, compiled and run
};
const std::vector<DescribedFormat>& described_formats();

}  // namespace mlc
