// By the description alone.
#include "formats/quant/reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "formats/quant/plain.h"

namespace mlc {
namespace {

using F = WeightFormat;
using Bytes = WeightReader::Bytes;
using Part = FormatRecord::Part;

template <typename T>
T at(Bytes bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float float_at(DType dtype, Bytes bytes, int64_t index) {
  if (dtype == DType::kF32) return at<float>(bytes, index);
  const uint16_t half = at<uint16_t>(bytes, index);
  return dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// An 8-bit float with `exponent_bits`, biased by 2^(exponent_bits-1) - 1. e4m3 has no infinity, and a NaN
// where all bits are set; e5m2 has both as IEEE's formats do.
float small_float(int bits, int exponent_bits, bool ieee) {
  const int fraction_bits = 7 - exponent_bits, top = (1 << exponent_bits) - 1;
  const int exponent = bits >> fraction_bits & top, fraction = bits & ((1 << fraction_bits) - 1);
  const float sign = bits & 0x80 ? -1.0f : 1.0f;
  if (ieee && exponent == top) return fraction ? std::nanf("") : sign * INFINITY;
  if (!ieee && (bits & 0x7F) == 0x7F) return std::nanf("");
  const int lowest = 1 - (top / 2) - fraction_bits;  // of the last fraction bit of subnormal numbers
  const int whole = exponent ? fraction | 1 << fraction_bits : fraction;
  return sign * std::ldexp(static_cast<float>(whole), lowest + (exponent ? exponent - 1 : 0));
}

// 4-bit floats: a sign, two bits of exponent, one of fraction.
constexpr float kE2M1[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
// IQ4_NL (formats/gguf_types.h).
constexpr float kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

float number_of(const F& f, int code) {
  switch (f.code) {
    case F::Code::kUnsigned: return static_cast<float>(code);
    case F::Code::kSigned: return static_cast<float>(code >> (f.bits - 1) ? code - (1 << f.bits) : code);
    case F::Code::kE4M3: return small_float(code, 4, false);
    case F::Code::kE5M2: return small_float(code, 5, true);
    case F::Code::kE2M1: return kE2M1[code];
    case F::Code::kIq4Nl: return kIq4[code];
    case F::Code::kNf4: return std::nanf("");  // the checkpoint brings its table
  }
  return 0;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t bytes_of(const FormatRecord& record) {
  int64_t size = size_of(record.dtype);
  for (int64_t dim : record.shape) size *= dim;
  return size;
}

uint32_t word_at(const F& f, Bytes words, int64_t index) {
  switch (size_of(f.container)) {
    case 4: return at<uint32_t>(words, index);
    case 2: return at<uint16_t>(words, index);
    default: return at<uint8_t>(words, index);
  }
}

}  // namespace

WeightReader::WeightReader(const F& format, int64_t n, int64_t k, std::span<const Bytes> records)
    : format_(format), n_(n), k_(k), groups_(format.groups(k)) {
  const std::vector<FormatRecord> described = format_records(format, {n, k});
  const bool offset = records.size() == described.size() + 1;
  internal_check(format.is_quantized() && !format.blocks && !described.empty() &&
                     (records.size() == described.size() || offset),
                 "no reader for the weight format " + format.text());
  Bytes table;
  for (size_t i = 0; i < described.size(); ++i) {
    internal_check(static_cast<int64_t>(records[i].size()) == bytes_of(described[i]),
                   "a record of another size than its description");
    switch (described[i].part) {
      case Part::kCodes: codes_ = records[i]; break;
      case Part::kScales: scales_ = records[i]; break;
      case Part::kZeros: zeros_ = records[i]; break;
      case Part::kIndex: index_ = records[i]; break;
      case Part::kTable: table = records[i]; break;
      case Part::kScaleTable: scale_table_ = records[i]; break;
      case Part::kScaleScales: scale_scales_ = records[i]; break;
      case Part::kInputScale:  // of activations, which stay floats
      case Part::kOther: break;
    }
  }
  if (offset) scale_offset_ = records.back();
  for (int code = 0; code < 1 << format_.bits; ++code)
    numbers_.push_back(table.empty() ? number_of(format_, code) : at<float>(table, code));
}

int64_t WeightReader::group_of(int64_t column) const {
  if (!index_.empty()) return at<int32_t>(index_, column);
  return format_.group ? column / format_.group : 0;
}

void WeightReader::codes(int64_t row, int64_t begin, std::span<uint8_t> codes) const {
  const uint32_t mask = (1u << format_.bits) - 1;
  const int64_t per_word = format_.codes_per_word(), count = static_cast<int64_t>(codes.size());
  if (format_.along == F::Along::kN) {
    const int64_t words = ceil_div(n_, per_word), word = row / per_word;
    const int64_t first = format_.transposed ? word : word * k_, step = format_.transposed ? words : 1;
    const int shift = lane_shift(format_, row);
    for (int64_t i = 0; i < count; ++i)
      codes[static_cast<size_t>(i)] =
          static_cast<uint8_t>(word_at(format_, codes_, first + (begin + i) * step) >> shift & mask);
    return;
  }
  // Rows of bytes end with their last code, others with a whole group.
  const int64_t group = format_.group ? format_.group : k_;
  const int64_t words = per_word == 1 ? k_ : format_.words(k_);
  const int64_t of_group = per_word == 1 ? group : words / groups_;
  const bool high_first = format_.order == F::Order::kHighFirst;
  for (int64_t i = 0; i < count;) {
    const int64_t column = begin + i, in_group = column % group;
    const int64_t word = column / group * of_group + in_group / per_word;
    const int64_t index = format_.transposed ? word * n_ + row : row * words + word;
    const uint32_t bits = word_at(format_, codes_, index);
    const int64_t first = in_group % per_word;
    const int64_t lanes = std::min({per_word - first, group - in_group, count - i});
    for (int64_t lane = first; lane < first + lanes; ++lane, ++i) {
      const int64_t place = high_first ? per_word - 1 - lane : lane;
      codes[static_cast<size_t>(i)] = static_cast<uint8_t>(bits >> (place * format_.bits) & mask);
    }
  }
}

float WeightReader::scale(int64_t row, int64_t group) const {
  const int64_t line = format_.group_n == 0 ? 0 : row / format_.group_n,
                lines = format_.group_n == 0 ? 1 : ceil_div(n_, format_.group_n);
  const int64_t index = format_.transposed ? group * lines + line : line * groups_ + group;
  if (format_.zero == F::Zero::kPaired)
    return bf16_to_f32(static_cast<uint16_t>(at<uint32_t>(scales_, index)));
  switch (format_.scale_code) {
    case F::ScaleCode::kFloat: return float_at(format_.dtype, scales_, index);
    case F::ScaleCode::kNone: return 1;
    case F::ScaleCode::kE8M0: {
      const int exponent = at<uint8_t>(scales_, index);
      return exponent == 255 ? std::nanf("") : std::ldexp(1.0f, exponent - 127);
    }
    case F::ScaleCode::kU8: {
      const float of_scales =
          at<float>(scale_scales_, (row * k_ + group * format_.group) / format_.super_group);
      const float scale = at<float>(scale_table_, at<uint8_t>(scales_, index)) * of_scales;
      return scale_offset_.empty() ? scale : scale + at<float>(scale_offset_, 0);
    }
    default: internal_error("no reader for such scales");
  }
}

float WeightReader::zero(int64_t row, int64_t group) const {
  const int64_t index = format_.transposed ? group * n_ + row : row * groups_ + group;
  switch (format_.zero) {
    case F::Zero::kNone: return 0;
    case F::Zero::kConstant: return static_cast<float>(format_.zero_point());
    case F::Zero::kPaired: return bf16_to_f32(static_cast<uint16_t>(at<uint32_t>(scales_, index) >> 16));
    case F::Zero::kFloat: return float_at(format_.dtype, zeros_, index);
    case F::Zero::kCodes: break;
  }
  const int64_t words = ceil_div(n_, format_.codes_per_word()), word = row / format_.codes_per_word();
  const uint32_t bits =
      word_at(format_, zeros_, format_.transposed ? group * words + word : word * groups_ + group);
  const uint32_t mask = (1u << format_.bits) - 1;
  // A zero point of 0 is stored as 15 where 1 is to be added.
  return static_cast<float>(((bits >> lane_shift(format_, row)) + format_.zero_plus) & mask);
}

void WeightReader::read_row(int64_t row, std::span<float> values) const {
  std::vector<uint8_t> code(static_cast<size_t>(k_));
  std::vector<double> scales, zeros;
  codes(row, 0, code);
  for (int64_t g = 0; g < groups_; ++g) scales.push_back(scale(row, g)), zeros.push_back(zero(row, g));
  const bool added = format_.zero == F::Zero::kPaired || format_.zero == F::Zero::kFloat;
  const int64_t group = format_.group ? format_.group : k_;
  for (int64_t i = 0; i < k_;) {
    const int64_t end = index_.empty() ? std::min(k_, i - i % group + group) : i + 1;
    const auto g = static_cast<size_t>(group_of(i));
    const double s = scales[g], z = zeros[g];
    for (; i < end; ++i) {
      const double q = numbers_[code[static_cast<size_t>(i)]];
      values[static_cast<size_t>(i)] = static_cast<float>(added ? q * s + z : (q - z) * s);
    }
  }
}

int lane_shift(const F& format, int64_t row) {
  const int lane = static_cast<int>(row % format.codes_per_word());
  if (format.order != F::Order::kAwq) return lane * format.bits;
  return (lane % 2 * 4 + lane / 2) * format.bits;
}

void read_weight(const F& format, int64_t n, int64_t k, std::span<const Bytes> records,
                 std::span<float> values) {
  if (!format.is_quantized()) return decode_floats(format.dtype, records[0].data(), values);
  const WeightReader reader(format, n, k, records);
  for (int64_t row = 0; row < n; ++row)
    reader.read_row(row, values.subspan(static_cast<size_t>(row * k), static_cast<size_t>(k)));
}

}  // namespace mlc
