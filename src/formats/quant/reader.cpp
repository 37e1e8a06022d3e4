// One element after the other, by the description alone.
#include "formats/quant/reader.h"

#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/half.h"
#include "formats/quant/plain.h"

namespace mlc {
namespace {

using F = WeightFormat;
using Bytes = std::span<const std::byte>;

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

class Reader {
 public:
  Reader(const F& format, int64_t n, int64_t k, std::span<const Bytes> records)
      : f_(format), n_(n), k_(k), groups_(format.groups(k)) {
    const std::vector<FormatRecord> described = format_records(format, {n, k});
    internal_check(
        described.size() == records.size() && !described.empty() && format.container == DType::kU32,
        "no reader for the weight format " + format.text());
    for (size_t i = 0; i < records.size(); ++i) {
      if (described[i].part == FormatRecord::Part::kCodes) codes_ = records[i];
      if (described[i].part == FormatRecord::Part::kScales) scales_ = records[i];
      if (described[i].part == FormatRecord::Part::kZeros) zeros_ = records[i];
    }
  }

  float value(int64_t row, int64_t column) const {
    const CodePlace place = code_place(f_, n_, k_, row, column);
    const double q = code(codes_, place);
    const int64_t group = column / f_.group, index = f_.transposed ? group * n_ + row : row * groups_ + group;
    if (f_.zero == F::Zero::kPaired) {
      const uint32_t pair = at<uint32_t>(scales_, index);
      return static_cast<float>(q * bf16_to_f32(static_cast<uint16_t>(pair)) +
                                bf16_to_f32(static_cast<uint16_t>(pair >> 16)));
    }
    return static_cast<float>((q - zero(row, group)) * float_at(f_.dtype, scales_, index));
  }

 private:
  uint32_t code(Bytes words, CodePlace place) const {
    return (at<uint32_t>(words, place.word) >> place.shift) & ((1u << f_.bits) - 1);
  }

  double zero(int64_t row, int64_t group) const {
    if (f_.zero != F::Zero::kCodes) return f_.zero_point();
    const int64_t words = (n_ + f_.codes_per_word() - 1) / f_.codes_per_word(),
                  word = row / f_.codes_per_word();
    return code(zeros_,
                {f_.transposed ? group * words + word : word * groups_ + group, lane_shift(f_, row)}) +
           f_.zero_plus;
  }

  const F& f_;
  int64_t n_, k_, groups_;
  Bytes codes_, scales_, zeros_;
};

}  // namespace

int lane_shift(const F& format, int64_t row) {
  const int lane = static_cast<int>(row % format.codes_per_word());
  if (format.order != F::Order::kAwq) return lane * format.bits;
  return (lane % 2 * 4 + lane / 2) * format.bits;
}

CodePlace code_place(const F& f, int64_t n, int64_t k, int64_t row, int64_t column) {
  const int64_t per_word = f.codes_per_word();
  if (f.along == F::Along::kN) {
    const int64_t words = (n + per_word - 1) / per_word, word = row / per_word;
    return {f.transposed ? column * words + word : word * k + column, lane_shift(f, row)};
  }
  const int64_t words = f.words(k), of_group = words / f.groups(k), i = column % f.group;
  const int64_t word = column / f.group * of_group + i / per_word;
  return {f.transposed ? word * n + row : row * words + word, static_cast<int>(i % per_word) * f.bits};
}

void read_weight(const F& format, int64_t n, int64_t k, std::span<const Bytes> records,
                 std::span<float> values) {
  if (!format.is_quantized()) return decode_floats(format.dtype, records[0].data(), values);
  const Reader reader(format, n, k, records);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column)
      values[static_cast<size_t>(row * k + column)] = reader.value(row, column);
}

}  // namespace mlc
