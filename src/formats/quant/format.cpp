// The texts and records that follow from a description, and the table of descriptions.
#include "formats/quant/format.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc {
namespace {

using F = WeightFormat;
using Part = FormatRecord::Part;

template <typename E>
std::string word(E value, const std::vector<std::string>& names) {
  const std::string& name = names[static_cast<size_t>(value)];
  return name.empty() ? "" : "." + name;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t shape_product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (int64_t dim : shape) product *= dim;
  return product;
}

// A record's axes, as they would lie in NK form.
std::vector<int64_t> stored(const WeightFormat& format, const std::vector<int64_t>& shape, int64_t n,
                            int64_t k) {
  std::vector<int64_t> result(shape.begin(), shape.end() - 2);
  result.push_back(format.transposed ? k : n);
  result.push_back(format.transposed ? n : k);
  return result;
}

WeightFormat with(WeightFormat format, void (*change)(WeightFormat&)) {
  change(format);
  return format;
}

// GGUF's blocks.
WeightFormat gguf(F::Code code, int bits, int group, F::ScaleCode scale, F::Zero zero) {
  WeightFormat f = F::grouped(4, DType::kF16, false);
  f.code = code, f.bits = bits, f.group = group, f.scale_code = scale, f.zero = zero;
  f.order = F::Order::kHalves, f.container = DType::kU8, f.names = F::Names::kGguf, f.blocks = true;
  f.super_group = scale == F::ScaleCode::kFloat ? 0 : 256;
  return f;
}

// 8-bit numbers that are their own words; of a group of 0 x 0, 0 x 1 or a block.
WeightFormat bytes(F::Code code, int group, int group_n, F::ScaleCode scale, F::Names names) {
  WeightFormat f;
  f.kind = F::Kind::kGroup, f.bits = 8, f.code = code, f.group = group;
  f.group_n = static_cast<int16_t>(group_n);
  f.container = code == F::Code::kE4M3   ? DType::kF8E4M3
                : code == F::Code::kE5M2 ? DType::kF8E5M2
                                         : DType::kI8;
  f.scale_code = scale, f.zero = F::Zero::kNone, f.names = names;
  return f;
}

std::vector<DescribedFormat> built_formats() {
  std::vector<DescribedFormat> all;
  for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    all.push_back({str("plain ", short_name(dtype)), F::plain(dtype), true});
    for (int bits : {3, 4})
      for (bool kn : {false, true})
        all.push_back({str("MLC ", bits, " bits ", short_name(dtype), kn ? " KN" : ""),
                       F::grouped(bits, dtype, kn), true});
  }
  for (int group : {32, 64, 128})
    all.push_back({group == 128 ? "AWQ" : str("AWQ in groups of ", group), F::awq(group), true});
  for (bool kn : {false, true}) {
    all.push_back({str("2023 4 bits f32", kn ? " KN" : ""), F::paired(kn), true});
    for (int bits : {3, 4, 8})
      all.push_back({str("2023 ", bits, " bits", kn ? " KN" : ""), F::grouped_2023(bits, kn), true});
  }
  all.push_back({"fp8 e4m3", F::float8(F::Code::kE4M3), true});
  all.push_back({"fp8 e4m3 with a scale of the inputs", F::float8(F::Code::kE4M3, true), true});
  all.push_back({"fp8 e5m2", F::float8(F::Code::kE5M2), true});
  all.push_back({"fp8 blocks", F::float8_blocks(), true});
  return all;
}

std::vector<DescribedFormat> other_formats() {
  using enum F::Code;
  using enum F::ScaleCode;
  const WeightFormat q4 = F::grouped(4, DType::kF16, false);
  return {
      {"2023 RWKV", with(q4,
                         [](F& f) {
                           f.bits = 8, f.group = 0, f.group_n = 0, f.container = DType::kU8, f.factors = true;
                           f.scale_code = kNone, f.zero = F::Zero::kNone, f.names = F::Names::kRwkv;
                         })},
      {"FasterTransformer 4 bits", with(q4,
                                        [](F& f) {
                                          f.code = kSigned, f.group = 0, f.container = DType::kI8,
                                          f.along = F::Along::kN;
                                          f.order = F::Order::kFragments, f.zero = F::Zero::kNone,
                                          f.transposed = true;
                                        })},
      {"fp8 e4m3 rows", bytes(kE4M3, 0, 1, kFloat, F::Names::kScaled)},
      {"int8 rows", bytes(kSigned, 0, 1, kFloat, F::Names::kScaled)},
      {"compressed-tensors",
       with(q4, [](F& f) { f.group = 128, f.dtype = DType::kBF16, f.names = F::Names::kCompressed; })},
      {"MLX", with(q4,
                   [](F& f) {
                     f.group = 64, f.dtype = DType::kBF16, f.zero = F::Zero::kFloat, f.names = F::Names::kMlx;
                   })},
      {"GPTQ", with(q4,
                    [](F& f) {
                      f.group = 128, f.transposed = true, f.zero = F::Zero::kCodes, f.zero_plus = 1;
                      f.names = F::Names::kGptq, f.permuted = true;
                    })},
      {"MXFP4", with(q4,
                     [](F& f) {
                       f.code = kE2M1, f.container = DType::kU8, f.scale_code = kE8M0,
                       f.zero = F::Zero::kNone;
                       f.names = F::Names::kMxFp4;
                     })},
      {"NF4", with(q4,
                   [](F& f) {
                     f.code = kNf4, f.group = 64, f.dtype = DType::kF32, f.container = DType::kU8;
                     f.order = F::Order::kHighFirst, f.zero = F::Zero::kNone, f.names = F::Names::kNf4;
                   })},
      {"Q4_0", gguf(kUnsigned, 4, 32, kFloat, F::Zero::kConstant)},
      {"Q4_1", gguf(kUnsigned, 4, 32, kFloat, F::Zero::kFloat)},
      {"Q5_0", gguf(kUnsigned, 5, 32, kFloat, F::Zero::kConstant)},
      {"Q5_1", gguf(kUnsigned, 5, 32, kFloat, F::Zero::kFloat)},
      {"Q8_0", gguf(kSigned, 8, 32, kFloat, F::Zero::kNone)},
      {"Q2_K", gguf(kUnsigned, 2, 16, kU4, F::Zero::kFloat)},
      {"Q3_K", gguf(kSigned, 3, 16, kS6, F::Zero::kNone)},
      {"Q4_K", gguf(kUnsigned, 4, 32, kU6, F::Zero::kFloat)},
      {"Q5_K", gguf(kUnsigned, 5, 32, kU6, F::Zero::kFloat)},
      {"Q6_K", gguf(kSigned, 6, 16, kS8, F::Zero::kNone)},
      {"IQ4_NL", gguf(kIq4Nl, 4, 32, kFloat, F::Zero::kNone)},
  };
}

// One scale, whatever is stacked.
std::vector<FormatRecord> float8_records(const WeightFormat& f, const std::vector<int64_t>& codes) {
  std::vector<FormatRecord> records = {{Part::kCodes, "q_weight", f.container, codes}};
  if (f.scale_code != F::ScaleCode::kNone) records.push_back({Part::kScales, "q_scale", f.dtype, {1}});
  if (f.input_scale) records.push_back({Part::kInputScale, "q_calibration_scale", DType::kF32, {1}});
  return records;
}

}  // namespace

WeightFormat WeightFormat::grouped(int bits, DType scales, bool transposed) {
  return {Kind::kGroup, scales, bits, bits == 3 ? 40 : 32, transposed};
}

WeightFormat WeightFormat::grouped_2023(int bits, bool transposed) {
  WeightFormat f = grouped(bits, DType::kF16, transposed);
  f.floored = true;
  if (bits == 3) f.container = DType::kU16;
  return f;
}

WeightFormat WeightFormat::awq(int group) {
  WeightFormat f = grouped(4, DType::kF16, true);
  f.group = group, f.along = Along::kN, f.order = Order::kAwq, f.zero = Zero::kCodes, f.names = Names::kAwq;
  return f;
}

WeightFormat WeightFormat::paired(bool transposed) {
  WeightFormat f = grouped(4, DType::kF32, transposed);
  f.zero = Zero::kPaired;
  return f;
}

WeightFormat WeightFormat::float8(Code code, bool input_scale) {
  WeightFormat f = bytes(code, 0, 0, code == Code::kE4M3 ? ScaleCode::kFloat : ScaleCode::kNone, Names::kMlc);
  f.input_scale = input_scale;
  return f;
}

WeightFormat WeightFormat::float8_blocks() {
  return bytes(Code::kE4M3, 128, 128, ScaleCode::kFloat, Names::kBlockScale);
}

std::string WeightFormat::text() const {
  if (kind == Kind::kPlain) return std::string(short_name(dtype));
  std::string out = str("q", bits, "g", group, ".", short_name(dtype), transposed ? ".kn" : "");
  out += word(code, {"", "signed", "e4m3", "e5m2", "e2m1", "nf4", "iq4nl"});
  if (container != DType::kU32) out += str(".in_", short_name(container));
  out += word(along, {"", "along_n"});
  out += word(order, {"", "high_first", "awq", "halves", "fragments"});
  out += word(scale_code,
              {"", "no_scale", "e8m0", "u4_scales", "u6_scales", "u8_scales", "s6_scales", "s8_scales"});
  out += word(zero, {"no_zero", "", "codes", "paired", "zeros"});
  if (zero_plus) out += str(".plus", int{zero_plus});
  if (group_n != 1) out += str(".n", int{group_n});
  if (super_group) out += str(".of", int{super_group});
  for (auto [set, name] : {std::pair{factors, ".factors"},
                           {permuted, ".permuted"},
                           {blocks, ".blocks"},
                           {floored, ".floored"},
                           {input_scale, ".input_scale"}})
    if (set) out += name;
  return out;
}

std::optional<WeightFormat> WeightFormat::parse(std::string_view text) {
  if (auto dtype = parse_dtype(text)) return plain(*dtype);
  for (const DescribedFormat& described : described_formats())
    if (described.format.is_quantized() && described.format.text() == text) return described.format;
  return std::nullopt;
}

std::vector<FormatRecord> format_records(const WeightFormat& f, const std::vector<int64_t>& shape) {
  if (!f.is_quantized()) return {{Part::kCodes, "weight", f.dtype, shape}};
  const int64_t n = shape[shape.size() - 2], k = shape.back(), groups = f.groups(k);
  const std::vector<int64_t> codes = f.along == F::Along::kN
                                         ? stored(f, shape, ceil_div(n, f.codes_per_word()), k)
                                         : stored(f, shape, n, f.codes_per_word() == 1 ? k : f.words(k));
  const std::vector<int64_t> scales = stored(f, shape, f.scale_rows(n), groups);
  const std::vector<int64_t> zeros = stored(f, shape, ceil_div(n, f.codes_per_word()), groups);
  std::vector<FormatRecord> records;
  switch (f.names) {
    case F::Names::kMlc:
      if (f.factors || f.order == F::Order::kFragments) return {};  // no reader of ours asks for them yet
      if (f.is_float8()) return float8_records(f, codes);
      return {{Part::kCodes, "q_weight", f.container, codes},
              {Part::kScales, "q_scale", f.zero == F::Zero::kPaired ? DType::kU32 : f.dtype, scales}};
    case F::Names::kAwq:
    case F::Names::kGptq:
      records = {{Part::kCodes, "qweight", f.container, codes},
                 {Part::kZeros, "qzeros", f.container, zeros},
                 {Part::kScales, "scales", f.dtype, scales}};
      break;
    case F::Names::kBlockScale:
    case F::Names::kScaled:
      return {{Part::kCodes, "weight", f.container, codes},
              {Part::kScales, f.names == F::Names::kScaled ? "weight_scale" : "weight_scale_inv", f.dtype,
               scales}};
    case F::Names::kCompressed:
      records = {{Part::kCodes, "weight_packed", f.container, codes},
                 {Part::kScales, "weight_scale", f.dtype, scales}};
      if (f.zero == F::Zero::kCodes)
        records.push_back({Part::kZeros, "weight_zero_point", f.container, zeros});
      break;
    case F::Names::kMlx:
      return {{Part::kCodes, "weight", f.container, codes},
              {Part::kScales, "scales", f.dtype, scales},
              {Part::kZeros, "biases", f.dtype, scales}};
    case F::Names::kMxFp4:
      return {{Part::kCodes, "blocks", f.container, codes}, {Part::kScales, "scales", DType::kU8, scales}};
    case F::Names::kNf4:
      records = {{Part::kCodes, "weight", f.container, {shape_product(codes), 1}},
                 {Part::kTable, "weight.quant_map", DType::kF32, {1 << f.bits}}};
      if (f.scale_code == F::ScaleCode::kFloat) {
        records.push_back({Part::kScales, "weight.absmax", DType::kF32, {shape_product(scales)}});
      } else {
        const int64_t of = f.super_group;
        records.push_back({Part::kScales, "weight.absmax", DType::kU8, {shape_product(scales)}});
        records.push_back({Part::kScaleTable, "weight.nested_quant_map", DType::kF32, {256}});
        records.push_back({Part::kScaleScales, "weight.nested_absmax", DType::kF32, {ceil_div(n * k, of)}});
      }
      return records;
    default: return {};  // no reader of ours asks for them yet
  }
  if (f.permuted)
    records.push_back(
        {Part::kIndex, f.names == F::Names::kGptq ? "g_idx" : "weight_g_idx", DType::kI32, {k}});
  return records;
}

const std::vector<DescribedFormat>& described_formats() {
  static const std::vector<DescribedFormat> formats = [] {
    std::vector<DescribedFormat> all = built_formats();
    for (DescribedFormat& format : other_formats()) all.push_back(std::move(format));
    return all;
  }();
  return formats;
}

}  // namespace mlc
