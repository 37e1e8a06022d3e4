// cvt. PTX ISA 8.5, section 9.7.9.21.
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/half.h"
#include "simulate/ptx/select.h"
#include "simulate/ptx/warp.h"

namespace mlc::ptx {
namespace {

// Integers are truncated or extended by their own sign.
template <typename To, typename From>
void between_integers(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(static_cast<To>(value<From>(a[l]))); });
}

template <typename From>
void to_float(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(static_cast<float>(value<From>(a[l]))); });
}

// Towards zero; out of range to the nearest there is, NaN to zero.
template <typename To>
void from_float(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) {
    const double v = std::trunc(static_cast<double>(value<float>(a[l])));
    constexpr To least = std::numeric_limits<To>::min(), most = std::numeric_limits<To>::max();
    to[l] = bits_of(std::isnan(v)        ? To{0}
                    : v <= double(least) ? least
                    : v >= double(most)  ? most
                                         : static_cast<To>(v));
  });
}

template <float (*F)(float)>
void rounded(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(F(value<float>(a[l]))); });
}
float even(float v) { return std::nearbyintf(v); }
float down(float v) { return std::floor(v); }
float up(float v) { return std::ceil(v); }
float chop(float v) { return std::trunc(v); }

void half_to_float(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(f16_to_f32(value<uint16_t>(a[l]))); });
}
void float_to_half(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(f32_to_f16(value<float>(a[l]))); });
}
// The first operand is the high half.
void floats_to_halves(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) {
    to[l] = uint64_t{f32_to_f16(value<float>(a[l]))} << 16 | f32_to_f16(value<float>(b[l]));
  });
}

template <typename To>
Run to_integer(const std::string& from) {
  static const std::map<std::string, Run> known = {
      {"u8", between_integers<To, uint8_t>},   {"s8", between_integers<To, int8_t>},
      {"u16", between_integers<To, uint16_t>}, {"s16", between_integers<To, int16_t>},
      {"u32", between_integers<To, uint32_t>}, {"s32", between_integers<To, int32_t>},
      {"u64", between_integers<To, uint64_t>}, {"s64", between_integers<To, int64_t>},
  };
  auto it = known.find(from);
  return it == known.end() ? nullptr : it->second;
}

}  // namespace

Run select_conversion(const std::vector<std::string>& parts) {
  static const std::map<std::string, Run> with_rounding = {
      {"rn.f32.s32", to_float<int32_t>},
      {"rn.f32.u32", to_float<uint32_t>},
      {"rn.f32.s64", to_float<int64_t>},
      {"rn.f32.u64", to_float<uint64_t>},
      {"rn.f32.s16", to_float<int16_t>},
      {"rn.f32.u16", to_float<uint16_t>},
      {"rn.f32.s8", to_float<int8_t>},
      {"rn.f32.u8", to_float<uint8_t>},
      {"rzi.s32.f32", from_float<int32_t>},
      {"rzi.u32.f32", from_float<uint32_t>},
      {"rzi.s64.f32", from_float<int64_t>},
      {"rzi.u64.f32", from_float<uint64_t>},
      {"rzi.u16.f32", from_float<uint16_t>},
      {"rzi.s16.f32", from_float<int16_t>},
      {"rni.f32.f32", rounded<even>},
      {"rmi.f32.f32", rounded<down>},
      {"rpi.f32.f32", rounded<up>},
      {"rzi.f32.f32", rounded<chop>},
      {"f32.f16", half_to_float},
      {"rn.f16.f32", float_to_half},
      {"rn.f16x2.f32", floats_to_halves},
  };
  if (parts[0] != "cvt") return nullptr;
  const std::vector<std::string> rest(parts.begin() + 1, parts.end());
  if (auto it = with_rounding.find(join(rest, ".")); it != with_rounding.end()) return it->second;
  if (rest.size() != 2) return nullptr;
  if (rest[0] == "u16" || rest[0] == "b16") return to_integer<uint16_t>(rest[1]);
  if (rest[0] == "s16") return to_integer<int16_t>(rest[1]);
  if (rest[0] == "u32") return to_integer<uint32_t>(rest[1]);
  if (rest[0] == "s32") return to_integer<int32_t>(rest[1]);
  if (rest[0] == "u64") return to_integer<uint64_t>(rest[1]);
  if (rest[0] == "s64") return to_integer<int64_t>(rest[1]);
  return nullptr;
}

}  // namespace mlc::ptx
