// Block types of GGUF: the table of sizes, and one function per type that gives the values of one block.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"
#include "formats/gguf_types.h"

namespace mlc {
namespace {

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::kF32, "F32", 1, 4, DType::kF32},    {GgufType::kF16, "F16", 1, 2, DType::kF16},
    {GgufType::kBF16, "BF16", 1, 2, DType::kBF16}, {GgufType::kQ4_0, "Q4_0", 32, 18, {}},  // 2 + 16
    {GgufType::kQ4_1, "Q4_1", 32, 20, {}},                                                 // 2 + 2 + 16
    {GgufType::kQ5_0, "Q5_0", 32, 22, {}},                                                 // 2 + 4 + 16
    {GgufType::kQ5_1, "Q5_1", 32, 24, {}},                                                 // 2 + 2 + 4 + 16
    {GgufType::kQ8_0, "Q8_0", 32, 34, {}},                                                 // 2 + 32
    {GgufType::kQ2_K, "Q2_K", 256, 84, {}},                                                // 16 + 64 + 2 + 2
    {GgufType::kQ3_K, "Q3_K", 256, 110, {}},                                               // 32 + 64 + 12 + 2
    {GgufType::kQ4_K, "Q4_K", 256, 144, {}},                                               // 2 + 2 + 12 + 128
    {GgufType::kQ5_K, "Q5_K", 256, 176, {}},      // 2 + 2 + 12 + 32 + 128
    {GgufType::kQ6_K, "Q6_K", 256, 210, {}},      // 128 + 64 + 16 + 2
    {GgufType::kIQ4_NL, "IQ4_NL", 32, 18, {}},    // 2 + 16
    {GgufType::kIQ4_XS, "IQ4_XS", 256, 136, {}},  // 2 + 2 + 4 + 128
    {GgufType::kMXFP4, "MXFP4", 32, 17, {}},      // 1 + 16
    {GgufType::kI8, "I8", 1, 1, DType::kI8},       {GgufType::kI16, "I16", 1, 2, DType::kI16},
    {GgufType::kI32, "I32", 1, 4, DType::kI32},    {GgufType::kI64, "I64", 1, 8, DType::kI64},
    {GgufType::kF64, "F64", 1, 8, DType::kF64},
};

// Types of the format that we do not read, for messages.
struct OtherType {
  uint32_t id;
  std::string_view name;
};
constexpr OtherType kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {21, "IQ3_S"}, {22, "IQ2_S"}, {29, "IQ1_M"},   {34, "TQ1_0"},  {35, "TQ2_0"},
};

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

float half_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return f16_to_f32(bits);
}

uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

// Element i (0..31) of 16 bytes of nibbles: low nibbles first, then high.
int nibble(const uint8_t* bytes, int i) { return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4; }

void q4_0(const uint8_t* b, float* y) {
  float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(nibble(b + 2, i) - 8);
}

void q4_1(const uint8_t* b, float* y) {
  float d = half_at(b), m = half_at(b + 2);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(nibble(b + 4, i)) + m;
}

void q5_0(const uint8_t* b, float* y) {
  float d = half_at(b);
  uint32_t high = word_at(b + 2);
  for (int i = 0; i < 32; ++i) {
    int q = nibble(b + 6, i) | static_cast<int>((high >> i & 1) << 4);
    y[i] = d * static_cast<float>(q - 16);
  }
}

void q5_1(const uint8_t* b, float* y) {
  float d = half_at(b), m = half_at(b + 2);
  uint32_t high = word_at(b + 4);
  for (int i = 0; i < 32; ++i) {
    int q = nibble(b + 8, i) | static_cast<int>((high >> i & 1) << 4);
    y[i] = d * static_cast<float>(q) + m;
  }
}

void q8_0(const uint8_t* b, float* y) {
  float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

void iq4_nl(const uint8_t* b, float* y) {
  float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(kIq4Values[nibble(b + 2, i)]);
}

void iq4_xs(const uint8_t* b, float* y) {
  float d = half_at(b);
  for (int g = 0; g < 8; ++g) {
    int high = (b[2 + g / 4] >> (g % 4 * 2) & 3) << 4, low = b[4 + g / 2] >> (g % 2 * 4) & 15;
    float scale = d * static_cast<float>((high | low) - 32);
    for (int i = 0; i < 32; ++i)
      y[g * 32 + i] = scale * static_cast<float>(kIq4Values[nibble(b + 8 + 16 * g, i)]);
  }
}

// FP4 in halves.
constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void mxfp4(const uint8_t* b, float* y) {
  float half = std::ldexp(1.0f, b[0] - 128);
  for (int i = 0; i < 32; ++i) y[i] = half * static_cast<float>(kFp4Values[nibble(b + 1, i)]);
}

// Two bits of element i (0..255) of 64 bytes: 128 elements per 32 bytes, 32 per bit pair.
int two_bits(const uint8_t* bytes, int i) { return bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

void q2_k(const uint8_t* b, float* y) {
  const uint8_t *scales = b, *codes = b + 16;
  float d = half_at(b + 80), m = half_at(b + 82);
  for (int i = 0; i < 256; ++i) {
    float scale = d * static_cast<float>(scales[i / 16] & 15),
          offset = m * static_cast<float>(scales[i / 16] >> 4);
    y[i] = scale * static_cast<float>(two_bits(codes, i)) - offset;
  }
}

void q3_k(const uint8_t* b, float* y) {
  const uint8_t *high = b, *codes = b + 32, *packed = b + 96;
  float d = half_at(b + 108);
  for (int i = 0; i < 256; ++i) {
    int g =
        i /
        16;  // 16 six-bit scales: low nibbles in bytes 0..7, then their high nibbles; top bits in bytes 8..11
    int scale = (g < 8 ? packed[g] & 15 : packed[g - 8] >> 4) | (packed[8 + g % 4] >> (g / 4 * 2) & 3) << 4;
    int q = two_bits(codes, i) - ((high[i % 32] >> (i / 32) & 1) ? 0 : 4);
    y[i] = d * static_cast<float>(scale - 32) * static_cast<float>(q);
  }
}

struct ScaleOffset {
  int scale, offset;
};
// Pair g (0..7) of the 12 bytes shared by Q4_K and Q5_K.
ScaleOffset scale_offset(const uint8_t* p, int g) {
  if (g < 4) return {p[g] & 63, p[g + 4] & 63};
  return {(p[g + 4] & 15) | (p[g - 4] >> 6) << 4, p[g + 4] >> 4 | (p[g] >> 6) << 4};
}

void q4_k(const uint8_t* b, float* y) {
  float d = half_at(b), m = half_at(b + 2);
  for (int g = 0; g < 8; ++g) {
    ScaleOffset so = scale_offset(b + 4, g);
    float scale = d * static_cast<float>(so.scale), offset = m * static_cast<float>(so.offset);
    const uint8_t* codes = b + 16 + g / 2 * 32;
    for (int i = 0; i < 32; ++i)
      y[g * 32 + i] = scale * static_cast<float>(codes[i] >> (g % 2 * 4) & 15) - offset;
  }
}

void q5_k(const uint8_t* b, float* y) {
  float d = half_at(b), m = half_at(b + 2);
  for (int g = 0; g < 8; ++g) {
    ScaleOffset so = scale_offset(b + 4, g);
    float scale = d * static_cast<float>(so.scale), offset = m * static_cast<float>(so.offset);
    const uint8_t *high = b + 16, *codes = b + 48 + g / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int q = (codes[i] >> (g % 2 * 4) & 15) | (high[i] >> g & 1) << 4;
      y[g * 32 + i] = scale * static_cast<float>(q) - offset;
    }
  }
}

void q6_k(const uint8_t* b, float* y) {
  const uint8_t *low = b, *high = b + 128, *scales = b + 192;
  float d = half_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    int nib = low[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
    int q = (nib | two_bits(high, i) << 4) - 32;
    float scale = d * static_cast<float>(static_cast<int8_t>(scales[i / 16]));
    y[i] = scale * static_cast<float>(q);
  }
}

void plain_f32(const uint8_t* b, float* y) { std::memcpy(y, b, 4); }
void plain_f16(const uint8_t* b, float* y) { *y = half_at(b); }
void plain_bf16(const uint8_t* b, float* y) {
  uint16_t bits;
  std::memcpy(&bits, b, 2);
  *y = bf16_to_f32(bits);
}
void plain_f64(const uint8_t* b, float* y) {
  double value;
  std::memcpy(&value, b, 8);
  *y = static_cast<float>(value);
}

using BlockFunction = void (*)(const uint8_t* block, float* values);

BlockFunction block_function(GgufType type) {
  switch (type) {
    case GgufType::kF32: return plain_f32;
    case GgufType::kF16: return plain_f16;
    case GgufType::kBF16: return plain_bf16;
    case GgufType::kF64: return plain_f64;
    case GgufType::kQ4_0: return q4_0;
    case GgufType::kQ4_1: return q4_1;
    case GgufType::kQ5_0: return q5_0;
    case GgufType::kQ5_1: return q5_1;
    case GgufType::kQ8_0: return q8_0;
    case GgufType::kQ2_K: return q2_k;
    case GgufType::kQ3_K: return q3_k;
    case GgufType::kQ4_K: return q4_k;
    case GgufType::kQ5_K: return q5_k;
    case GgufType::kQ6_K: return q6_k;
    case GgufType::kIQ4_NL: return iq4_nl;
    case GgufType::kIQ4_XS: return iq4_xs;
    case GgufType::kMXFP4: return mxfp4;
    case GgufType::kI8:
    case GgufType::kI16:
    case GgufType::kI32:
    case GgufType::kI64: break;
  }
  return nullptr;
}

}  // namespace

const GgufTypeInfo* find_gguf_type(uint32_t id) {
  for (const GgufTypeInfo& info : kTypes)
    if (static_cast<uint32_t>(info.type) == id) return &info;
  return nullptr;
}

const GgufTypeInfo& gguf_type_info(GgufType type) {
  const GgufTypeInfo* info = find_gguf_type(static_cast<uint32_t>(type));
  internal_check(info != nullptr, "every GgufType has a row in kTypes");
  return *info;
}

std::string gguf_type_name(uint32_t id) {
  if (const GgufTypeInfo* info = find_gguf_type(id)) return std::string(info->name);
  for (const OtherType& other : kOtherTypes)
    if (other.id == id) return std::string(other.name);
  return str("type ", id);
}

std::string gguf_known_types() {
  std::string names;
  for (const GgufTypeInfo& info : kTypes) names += (names.empty() ? "" : " ") + std::string(info.name);
  return names;
}

void dequantize_gguf(GgufType type, std::span<const std::byte> blocks, std::span<float> values) {
  const GgufTypeInfo& info = gguf_type_info(type);
  BlockFunction function = block_function(type);
  internal_check(function != nullptr, "integer tensors are read as they are");
  internal_check(values.size() % info.block_elements == 0 &&
                     values.size() / info.block_elements * info.block_bytes == blocks.size(),
                 "dequantize_gguf needs whole blocks");
  const auto* in = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t i = 0; i < values.size(); i += info.block_elements, in += info.block_bytes)
    function(in, values.data() + i);
}

}  // namespace mlc
