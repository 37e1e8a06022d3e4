// The loops of packing and casting over eight lanes, included once for each instruction set by kernels_<set>.cpp, inside a
// namespace of that set. No include guard; the includer brings the headers named in kernels.h.

typedef float Float8 __attribute__((vector_size(32)));
typedef int32_t Int8x32 __attribute__((vector_size(32)));
typedef uint32_t UInt8x32 __attribute__((vector_size(32)));
typedef uint16_t Half8 __attribute__((vector_size(16)));

inline Int8x32 as_int(Float8 x) { return reinterpret_cast<Int8x32>(x); }
inline Float8 as_float(Int8x32 x) { return reinterpret_cast<Float8>(x); }
inline Float8 splat(float x) { return Float8{x, x, x, x, x, x, x, x}; }
inline Float8 load(const float* p) {
  Float8 x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline void store(float* p, Float8 x) { std::memcpy(p, &x, sizeof(x)); }
// Lane by lane: mask (all ones or 0) ? a : b.
inline Float8 select(Int8x32 mask, Float8 a, Float8 b) {
  return as_float((mask & as_int(a)) | (~mask & as_int(b)));
}
inline Int8x32 select(Int8x32 mask, Int8x32 a, Int8x32 b) { return (mask & a) | (~mask & b); }
// The OR of all lanes.
inline uint32_t or_lanes(Int8x32 x) {
  uint64_t parts[4];
  std::memcpy(parts, &x, sizeof(parts));
  uint64_t all = (parts[0] | parts[1]) | (parts[2] | parts[3]);
  return static_cast<uint32_t>(all | (all >> 32));
}

// f16 bits of each lane. Below 2^-14 the sum |x| + 0.5 has an ulp of 2^-24, the unit of subnormal halves.
inline Int8x32 to_f16_bits(Float8 x) {
  Int8x32 bits = as_int(x), sign = bits & INT32_MIN, mag = bits ^ sign;
  Int8x32 normal = ((mag + 0xFFF + ((mag >> 13) & 1)) - 0x38000000) >> 13;
  Int8x32 tiny = as_int(as_float(mag) + splat(0.5f)) - 0x3F000000;
  Int8x32 half = select(mag < 0x38800000, tiny, normal);
  half = select(mag >= 0x477FF000, Int8x32{} + 0x7C00, half);
  half = select(mag > 0x7F800000, Int8x32{} + 0x7E00, half);
  return half | ((sign >> 16) & 0x8000);
}

inline Float8 from_f16_bits(Int8x32 half) {
  Int8x32 sign = (half & 0x8000) << 16, mag = (half & 0x7FFF) << 13;
  Float8 tiny = __builtin_convertvector(half & 0x3FF, Float8) * splat(0x1p-24f);
  Int8x32 normal = mag + 0x38000000;
  normal = select(mag >= 0x0F800000, mag | 0x7F800000, normal);
  return as_float(select(mag < 0x00800000, as_int(tiny), normal) | sign);
}

inline Int8x32 to_bf16_bits(Float8 x) {
  Int8x32 bits = as_int(x);
  // Added as unsigned: a NaN's bits may pass the largest int; such lanes are not selected.
  auto rounded = (Int8x32)((UInt8x32)bits + 0x7FFF + (((UInt8x32)bits >> 16) & 1));
  return (select((bits & 0x7FFFFFFF) >= 0x7F7F0000, bits, rounded) >> 16) & 0xFFFF;
}

inline Int8x32 load_halves(const std::byte* bytes) {
  Half8 halves;
  std::memcpy(&halves, bytes, sizeof(halves));
  return __builtin_convertvector(halves, Int8x32);
}
inline void store_halves(std::byte* bytes, Int8x32 x) {
  Half8 halves = __builtin_convertvector(x, Half8);
  std::memcpy(bytes, &halves, sizeof(halves));
}

// The whole eights of each cast; the caller does the rest.
inline void decode_eights(DType dtype, const std::byte* bytes, float* values, size_t eights) {
  if (dtype == DType::kF16)
    for (size_t i = 0; i < eights; ++i) store(values + 8 * i, from_f16_bits(load_halves(bytes + 16 * i)));
  else
    for (size_t i = 0; i < eights; ++i) store(values + 8 * i, as_float(load_halves(bytes + 16 * i) << 16));
}
inline void encode_eights(DType dtype, const float* values, std::byte* bytes, size_t eights) {
  if (dtype == DType::kF16)
    for (size_t i = 0; i < eights; ++i) store_halves(bytes + 16 * i, to_f16_bits(load(values + 8 * i)));
  else
    for (size_t i = 0; i < eights; ++i) store_halves(bytes + 16 * i, to_bf16_bits(load(values + 8 * i)));
}
inline void round_eights(DType dtype, float* values, size_t eights) {
  if (dtype == DType::kF16)
    for (size_t i = 0; i < eights; ++i) store(values + 8 * i, from_f16_bits(to_f16_bits(load(values + 8 * i))));
  else
    for (size_t i = 0; i < eights; ++i) store(values + 8 * i, as_float(to_bf16_bits(load(values + 8 * i)) << 16));
}

// Rounds to float16 a value whose error below 2^-14 or above 65504 cannot change a code: w/s there is added to or
// clamped at 2m, and m + 2^-14 rounds to m in float16.
inline Float8 round_f16_normal(Float8 x) {
  Int8x32 bits = as_int(x);
  return as_float((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF);
}

// Codes of one group of kVectors * 8 values, as integers.
template <int kVectors, bool kHalf>
inline void group_codes(const float* w, float scale, int max_code, Int8x32* codes) {
  const Float8 divisor = splat(scale), middle = splat(static_cast<float>(max_code)), zero = splat(0);
  const Float8 top = splat(static_cast<float>(2 * max_code));
  constexpr float kRounder = 0x1p23f;  // x + 2^23 has no fraction bits, so the addition rounds x, ties to even
  for (int v = 0; v < kVectors; ++v) {
    Float8 t = load(w + 8 * v) / divisor;
    if constexpr (kHalf) t = round_f16_normal(t);
    Float8 u = t + middle;
    if constexpr (kHalf) u = round_f16_normal(u);
    u = select(u > zero, u, zero);  // NaN: 0
    u = select(u < top, u, top);
    codes[v] = as_int(u + splat(kRounder)) & 255;
  }
}

template <int kVectors>
inline float largest_magnitude(const float* w) {
  Int8x32 most = as_int(load(w)) & 0x7FFFFFFF;  // magnitudes order as integers
  for (int v = 1; v < kVectors; ++v) {
    Int8x32 next = as_int(load(w + 8 * v)) & 0x7FFFFFFF;
    most = select(next > most, next, most);
  }
  int32_t lanes[8], largest = 0;
  std::memcpy(lanes, &most, sizeof(lanes));
  for (int32_t lane : lanes) largest = std::max(largest, lane);
  return std::bit_cast<float>(largest);
}

inline void pack_group4(const Int8x32* codes, uint32_t* words) {
  const Int8x32 shifts = {0, 4, 8, 12, 16, 20, 24, 28};
  for (int v = 0; v < 4; ++v) words[v] = or_lanes(codes[v] << shifts);
}

inline void pack_group3(const Int8x32* codes, uint32_t* words) {
  uint32_t flat[40];
  std::memcpy(flat, codes, sizeof(flat));
  for (int word = 0; word < 4; ++word) {
    words[word] = 0;
    for (int i = 0; i < 10; ++i) words[word] |= flat[10 * word + i] << (3 * i);
  }
}

inline void pack_group8(const Int8x32* codes, uint32_t* words) {
  const Int8x32 shifts = {0, 8, 16, 24, 0, 8, 16, 24};
  for (int v = 0; v < 4; ++v) {
    const Int8x32 placed = codes[v] << shifts;
    int32_t lanes[8];
    std::memcpy(lanes, &placed, sizeof(lanes));
    for (int half = 0; half < 2; ++half)
      words[2 * v + half] = static_cast<uint32_t>((lanes[4 * half] | lanes[4 * half + 1]) |
                                                  (lanes[4 * half + 2] | lanes[4 * half + 3]));
  }
}

// Whole groups of a row of 4, 3 or 8 bits.
template <int kBits, bool kHalf>
inline void quantize_groups(const WeightFormat& format, const float* w, int64_t groups, uint32_t* words,
                                                   std::byte* scales, int64_t first) {
  constexpr int kVectors = kBits == 3 ? 5 : 4, kMaxCode = (1 << (kBits - 1)) - 1;
  for (int64_t g = 0; g < groups; ++g, w += 8 * kVectors, words += kBits == 8 ? 2 * kWordsOfGroup : kWordsOfGroup) {
    float scale = scale_for_codes(format, largest_magnitude<kVectors>(w));
    store_scale(format.dtype, scale, scales, first + g);
    Int8x32 codes[kVectors];
    group_codes<kVectors, kHalf>(w, scale, kMaxCode, codes);
    if constexpr (kBits == 4) pack_group4(codes, words);
    else if constexpr (kBits == 8) pack_group8(codes, words);
    else pack_group3(codes, words);
  }
}

inline void quantize_any(const WeightFormat& format, const float* w, int64_t groups, uint32_t* words, std::byte* scales,
                         int64_t first) {
  bool half = format.dtype == DType::kF16;
  if (format.bits == 4 && half) quantize_groups<4, true>(format, w, groups, words, scales, first);
  else if (format.bits == 4) quantize_groups<4, false>(format, w, groups, words, scales, first);
  else if (format.bits == 8 && half) quantize_groups<8, true>(format, w, groups, words, scales, first);
  else if (format.bits == 8) quantize_groups<8, false>(format, w, groups, words, scales, first);
  else if (half) quantize_groups<3, true>(format, w, groups, words, scales, first);
  else quantize_groups<3, false>(format, w, groups, words, scales, first);
}

constexpr QuantKernels kKernels = {decode_eights, encode_eights, round_eights, quantize_any};
