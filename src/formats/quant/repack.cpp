// Which groups fit, and the codes moved over.
#include "formats/quant/repack.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/half.h"

namespace mlc {
namespace {

using F = WeightFormat;

bool has_whole_numbers(const F& f) {
  return f.code == F::Code::kUnsigned || f.code == F::Code::kSigned || f.code == F::Code::kE2M1;
}

// By what codes' numbers become whole ones.
float multiple(const F& f) { return f.code == F::Code::kE2M1 ? 2.0f : 1.0f; }

struct Range {
  int low = 0, high = 0;
};

// Of the codes' whole numbers.
Range range_of(const F& f) {
  if (f.code == F::Code::kE2M1) return {-12, 12};
  if (f.code == F::Code::kSigned) return {-(1 << (f.bits - 1)), (1 << (f.bits - 1)) - 1};
  return {0, (1 << f.bits) - 1};
}

// 1 or -1 as the codes keep their direction or not, 0 where neither way fits.
int direction(const F& from, float zero, const F& to) {
  const Range range = range_of(from);
  const int z = static_cast<int>(zero), m = to.zero_point(), top = to.top_code();
  if (m + range.low - z >= 0 && m + range.high - z <= top) return 1;
  if (m - (range.high - z) >= 0 && m - (range.low - z) <= top) return -1;
  return 0;
}

// Bits of a number in a 16-bit float; nullopt where they do not hold it.
std::optional<uint16_t> as_half(DType dtype, float value) {
  const uint16_t half = dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  const float back = dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
  if (back != value) return std::nullopt;
  return half;
}

// Of the scales that the file of `to` keeps.
DType stored_dtype(const F& to) { return to.dtype == DType::kF16 ? DType::kF16 : DType::kBF16; }

bool groups_nest(const WeightReader& from, int group) {
  const int64_t source = from.format().group ? from.format().group : from.k();
  return !from.format().permuted && (source % group == 0 || from.groups() == 1);
}

bool fits(const WeightReader& from, int64_t row, int64_t group, const F& to) {
  const float scale = from.scale(row, group) / multiple(from.format()), zero = from.zero(row, group);
  if (to.zero == F::Zero::kPaired)
    return as_half(DType::kBF16, scale).has_value() && as_half(DType::kBF16, zero).has_value();
  return direction(from.format(), zero, to) != 0 && as_half(stored_dtype(to), scale).has_value();
}

}  // namespace

bool can_repack(const WeightReader& from, const F& to) {
  const F& f = from.format();
  const bool paired = to.zero == F::Zero::kPaired;
  if (!has_whole_numbers(f) || to.names != F::Names::kMlc || (!paired && !to.is_centered())) return false;
  if (to.code != F::Code::kUnsigned || to.container != DType::kU32 || !groups_nest(from, to.group))
    return false;
  const bool added = f.zero == F::Zero::kFloat || f.zero == F::Zero::kPaired;
  if (paired ? !added || f.bits != to.bits || f.code != F::Code::kUnsigned : added) return false;
  const int64_t rows_alike = f.group_n > 1 ? f.group_n : f.group_n == 0 ? from.n() : 1;
  for (int64_t row = 0; row < from.n(); row += rows_alike)
    for (int64_t group = 0; group < from.groups(); ++group)
      if (!fits(from, row, group, to)) return false;
  return true;
}

void repack_row(const WeightReader& from, int64_t row, int64_t begin, int64_t end, const F& to,
                uint32_t* words, std::byte* scales) {
  std::vector<uint8_t> codes(static_cast<size_t>(end - begin));
  from.codes(row, begin, codes);
  const int64_t per_word = to.codes_per_word(), words_of_group = to.words(to.group);
  const float times = multiple(from.format());
  const bool paired = to.zero == F::Zero::kPaired;
  for (int64_t first = begin; first < end; first += to.group, words += words_of_group) {
    const int64_t group = from.group_of(first), last = std::min(end, first + to.group);
    const float zero = from.zero(row, group), scale = from.scale(row, group) / times;
    const int way = paired ? 1 : direction(from.format(), zero, to);
    const int origin = paired ? 0 : to.zero_point() - way * static_cast<int>(zero);
    std::fill_n(words, words_of_group, 0u);
    for (int64_t i = first; i < last; ++i) {
      const int number = static_cast<int>(from.number(codes[static_cast<size_t>(i - begin)]) * times);
      const auto code = static_cast<uint32_t>(origin + way * number);
      words[(i - first) / per_word] |= code << ((i - first) % per_word * to.bits);
    }
    const DType dtype = paired ? DType::kBF16 : stored_dtype(to);
    uint32_t stored = as_half(dtype, way < 0 ? -scale : scale).value_or(0);
    if (paired) stored |= uint32_t{as_half(DType::kBF16, zero).value_or(0)} << 16;
    const size_t size = paired ? 4 : 2;
    std::memcpy(scales, &stored, size);
    scales += size;
  }
}

bool can_repack_awq(const WeightReader& from, int group) {
  const F& f = from.format();
  return f.code == F::Code::kUnsigned && f.bits == 4 && f.dtype == DType::kF16 && f.group_n == 1 &&
         f.scale_code == F::ScaleCode::kFloat &&
         (f.zero == F::Zero::kConstant || f.zero == F::Zero::kCodes) && groups_nest(from, group) &&
         from.k() % group == 0 && from.n() % 8 == 0;
}

void repack_awq(const WeightReader& from, const FormatRecord& record, int group, int64_t begin, int64_t end,
                std::span<std::byte> bytes) {
  const F awq = F::awq(group);
  const int64_t n = from.n(), words = n / 8;
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  auto put = [&](int64_t line, int64_t row, uint32_t code) {
    std::byte* word = bytes.data() + ((line - begin) * words + row / 8) * 4;
    uint32_t all;
    std::memcpy(&all, word, 4);
    all |= code << lane_shift(awq, row);
    std::memcpy(word, &all, 4);
  };
  std::vector<uint8_t> codes(static_cast<size_t>(end - begin));
  for (int64_t row = 0; row < n; ++row) {
    if (record.part == FormatRecord::Part::kCodes) from.codes(row, begin, codes);
    for (int64_t line = begin; line < end; ++line) {
      if (record.part == FormatRecord::Part::kCodes) {
        put(line, row, codes[static_cast<size_t>(line - begin)]);
        continue;
      }
      const int64_t source = from.group_of(line * group);
      if (record.part == FormatRecord::Part::kZeros) {
        put(line, row, static_cast<uint32_t>(from.zero(row, source)));
        continue;
      }
      const uint16_t half = f32_to_f16(from.scale(row, source));
      std::memcpy(bytes.data() + ((line - begin) * n + row) * 2, &half, 2);
    }
  }
}

}  // namespace mlc
