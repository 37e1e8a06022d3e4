// Arithmetic, logic and comparisons. PTX ISA 8.5, sections 9.7.1 to 9.7.8.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/half.h"
#include "simulate/ptx/select.h"
#include "simulate/ptx/warp.h"

namespace mlc::ptx {
namespace {

using Parts = std::vector<std::string>;

// One function of one, two or three values of type T; results of type R.
template <typename T, typename R, R (*F)(T)>
void run1(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(F(value<T>(a[l]))); });
}
template <typename T, typename R, R (*F)(T, T)>
void run2(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(F(value<T>(a[l]), value<T>(b[l]))); });
}
template <typename T, typename R, R (*F)(T, T, R)>
void run3(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]), *c = w.lanes(i.from[2]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(F(value<T>(a[l]), value<T>(b[l]), value<R>(c[l]))); });
}

// Integers wrap: in the unsigned type, which promotion must not make signed.
template <typename T>
using Wrapping = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;
template <typename T>
using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;

template <typename T>
T add(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a + b;
  else
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
}
template <typename T>
T sub(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a - b;
  else
    return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
}
template <typename T>
T mul(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a * b;
  else
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
}
template <typename T>
T mul_high(T a, T b) {
  constexpr int bits = 8 * sizeof(T);
  if constexpr (bits < 64)
    return static_cast<T>(Wide<T>{a} * Wide<T>{b} >> bits);
  else
    return static_cast<T>(static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b) >> bits);
}
template <typename T>
Wide<T> mul_wide(T a, T b) {
  return Wide<T>{a} * Wide<T>{b};
}
template <typename T>
T mad(T a, T b, T c) {
  return add(mul(a, b), c);
}
template <typename T>
Wide<T> mad_wide(T a, T b, Wide<T> c) {
  return add(mul_wide(a, b), c);
}
template <typename T>
std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t> mul_wide_16(T a, T b) {
  return static_cast<std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>(mul_wide(a, b));
}
float fma(float a, float b, float c) { return std::fmaf(a, b, c); }
// Division by zero gives all ones (PTX leaves it open).
template <typename T>
T divide(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return a / b;
  else
    return b == 0 ? static_cast<T>(-1) : static_cast<T>(a / b);
}
template <typename T>
T remainder(T a, T b) {
  return b == 0 ? static_cast<T>(-1) : static_cast<T>(a % b);
}
float root(float a) { return std::sqrt(a); }
template <typename T>
T negate(T a) {
  if constexpr (std::is_floating_point_v<T>)
    return -a;
  else
    return sub(T{0}, a);
}
template <typename T>
T absolute(T a) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fabs(a);
  else
    return a < 0 ? negate(a) : a;
}
// A NaN gives the other operand.
template <typename T>
T least(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmin(a, b);
  else
    return std::min(a, b);
}
template <typename T>
T most(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmax(a, b);
  else
    return std::max(a, b);
}
template <typename T>
T both(T a, T b) {
  return a & b;
}
template <typename T>
T either(T a, T b) {
  return a | b;
}
template <typename T>
T differ(T a, T b) {
  return a ^ b;
}
template <typename T>
T invert(T a) {
  return static_cast<T>(~a);
}
bool invert_predicate(bool a) { return !a; }

// Amounts past the width are clamped to it.
template <typename T>
void shift_left(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) {
    const uint32_t n = value<uint32_t>(b[l]);
    to[l] = bits_of(n >= 8 * sizeof(T) ? T{0} : static_cast<T>(value<T>(a[l]) << n));
  });
}
template <typename T>
void shift_right(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) {
    const uint32_t n = value<uint32_t>(b[l]), bits = 8 * sizeof(T);
    const T v = value<T>(a[l]);
    to[l] = bits_of(n < bits              ? static_cast<T>(v >> n)
                    : std::is_signed_v<T> ? static_cast<T>(v >> (bits - 1))
                                          : T{0});
  });
}

// shf.l: the high word of (b:a) << n; shf.r: the low word of (b:a) >> n; n modulo 32 (.wrap).
template <bool kLeft>
void funnel(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]), *c = w.lanes(i.from[2]);
  for_lanes(mask, [&](int l) {
    const uint64_t pair = b[l] << 32 | value<uint32_t>(a[l]);
    const uint32_t n = value<uint32_t>(c[l]) & 31;
    to[l] = value<uint32_t>(kLeft ? pair << n >> 32 : pair >> n);
  });
}

// bfe: `c` bits of a from bit b on, extended by their highest.
template <typename T>
void field(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]), *c = w.lanes(i.from[2]);
  for_lanes(mask, [&](int l) {
    const uint32_t at = value<uint8_t>(b[l]), count = value<uint8_t>(c[l]);
    if (count == 0 || count > 32 || at + count > 32)
      throw Fault(str("line ", i.line, ": bfe past the end of a word"));
    to[l] =
        bits_of(static_cast<T>(static_cast<T>(value<uint32_t>(a[l]) << (32 - at - count)) >> (32 - count)));
  });
}

// prmt: byte n of the result is byte (c >> 4n & 7) of b:a.
void permute(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]), *c = w.lanes(i.from[2]);
  for_lanes(mask, [&](int l) {
    const uint64_t pair = b[l] << 32 | value<uint32_t>(a[l]);
    uint32_t out = 0;
    for (int n = 0; n < 4; ++n) {
      const uint64_t which = c[l] >> (4 * n);
      if (which & 8) throw Fault(str("line ", i.line, ": prmt of a sign"));
      out |= (static_cast<uint32_t>(pair >> (8 * (which & 7))) & 0xFF) << (8 * n);
    }
    to[l] = out;
  });
}

void fma_halves(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t* to = w.lanes(i.to[0]);
  for_lanes(mask, [&](int l) {
    uint32_t result = 0;
    for (int shift : {0, 16}) {
      auto half = [&](int n) {
        return f16_to_f32(static_cast<uint16_t>(value<uint32_t>(w.lanes(i.from[n])[l]) >> shift));
      };
      result |= uint32_t{f32_to_f16(std::fmaf(half(0), half(1), half(2)))} << shift;
    }
    to[l] = result;
  });
}

template <typename T>
void select_value(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]), *p = w.lanes(i.from[2]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(value<T>(p[l] ? a[l] : b[l])); });
}

// How two values stand to each other, as a set of these bits; a comparison is the set that makes it true.
enum : uint8_t { kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8 };
template <typename T, uint8_t kTrueFor>
void compare(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]), *b = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) {
    const T x = value<T>(a[l]), y = value<T>(b[l]);
    const uint8_t found = x < y ? kLess : x == y ? kEqual : x > y ? kGreater : kUnordered;
    to[l] = (found & kTrueFor) != 0;
  });
}

template <typename T>
Run comparison(const std::string& name) {
  static const std::map<std::string, Run> known = {
      {"eq", compare<T, kEqual>},
      {"ne", compare < T, kLess | kGreater > },
      {"lt", compare<T, kLess>},
      {"le", compare < T, kLess | kEqual > },
      {"gt", compare<T, kGreater>},
      {"ge", compare < T, kGreater | kEqual > },
      {"equ", compare < T, kEqual | kUnordered > },
      {"neu", compare < T, kLess | kGreater | kUnordered > },
      {"ltu", compare < T, kLess | kUnordered > },
      {"leu", compare < T, kLess | kEqual | kUnordered > },
      {"gtu", compare < T, kGreater | kUnordered > },
      {"geu", compare < T, kGreater | kEqual | kUnordered > },
      {"num", compare < T, kLess | kEqual | kGreater > },
      {"nan", compare<T, kUnordered>},
  };
  auto it = known.find(name);
  return it == known.end() ? nullptr : it->second;
}

template <typename T>
Run of_integers(const std::string& op) {
  static const std::map<std::string, Run> known = {
      {"add", run2<T, T, add<T>>},         {"sub", run2<T, T, sub<T>>},      {"mul.lo", run2<T, T, mul<T>>},
      {"mul.hi", run2<T, T, mul_high<T>>}, {"mad.lo", run3<T, T, mad<T>>},   {"div", run2<T, T, divide<T>>},
      {"rem", run2<T, T, remainder<T>>},   {"neg", run1<T, T, negate<T>>},   {"min", run2<T, T, least<T>>},
      {"max", run2<T, T, most<T>>},        {"abs", run1<T, T, absolute<T>>}, {"shr", shift_right<T>},
      {"selp", select_value<T>},
  };
  auto it = known.find(op);
  return it == known.end() ? nullptr : it->second;
}

template <typename T>
Run of_bits(const std::string& op) {
  static const std::map<std::string, Run> known = {
      {"and", run2<T, T, both<T>>},   {"or", run2<T, T, either<T>>}, {"xor", run2<T, T, differ<T>>},
      {"not", run1<T, T, invert<T>>}, {"shl", shift_left<T>},        {"shr", shift_right<T>},
      {"selp", select_value<T>},
  };
  auto it = known.find(op);
  return it == known.end() ? nullptr : it->second;
}

// By the whole opcode.
const std::map<std::string, Run>& others() {
  static const std::map<std::string, Run> known = {
      {"add.rn.f32", run2<float, float, add<float>>},
      {"add.f32", run2<float, float, add<float>>},
      {"sub.rn.f32", run2<float, float, sub<float>>},
      {"sub.f32", run2<float, float, sub<float>>},
      {"mul.rn.f32", run2<float, float, mul<float>>},
      {"mul.f32", run2<float, float, mul<float>>},
      {"fma.rn.f32", run3<float, float, fma>},
      {"fma.rn.f16x2", fma_halves},
      {"div.full.f32", run2<float, float, divide<float>>},
      {"div.rn.f32", run2<float, float, divide<float>>},
      {"sqrt.approx.f32", run1<float, float, root>},
      {"neg.f32", run1<float, float, negate<float>>},
      {"abs.f32", run1<float, float, absolute<float>>},
      {"min.f32", run2<float, float, least<float>>},
      {"max.f32", run2<float, float, most<float>>},
      {"selp.f32", select_value<uint32_t>},
      {"mul.wide.s32", run2<int32_t, int64_t, mul_wide<int32_t>>},
      {"mul.wide.u32", run2<uint32_t, uint64_t, mul_wide<uint32_t>>},
      {"mul.wide.s16", run2<int16_t, int32_t, mul_wide_16<int16_t>>},
      {"mul.wide.u16", run2<uint16_t, uint32_t, mul_wide_16<uint16_t>>},
      {"mad.wide.s32", run3<int32_t, int64_t, mad_wide<int32_t>>},
      {"mad.wide.u32", run3<uint32_t, uint64_t, mad_wide<uint32_t>>},
      {"and.pred", run2<bool, bool, both<bool>>},
      {"or.pred", run2<bool, bool, either<bool>>},
      {"xor.pred", run2<bool, bool, differ<bool>>},
      {"not.pred", run1<bool, bool, invert_predicate>},
      {"shf.l.wrap.b32", funnel<true>},
      {"shf.r.wrap.b32", funnel<false>},
      {"bfe.u32", field<uint32_t>},
      {"bfe.s32", field<int32_t>},
      {"prmt.b32", permute},
  };
  return known;
}

}  // namespace

Run select_arithmetic(const Parts& parts) {
  const std::string& type = parts.back();
  std::string op = parts[0];
  if (op == "setp" && parts.size() == 3) {
    if (type == "f32") return comparison<float>(parts[1]);
    if (type == "s16") return comparison<int16_t>(parts[1]);
    if (type == "s32") return comparison<int32_t>(parts[1]);
    if (type == "s64") return comparison<int64_t>(parts[1]);
    if (type == "u16" || type == "b16") return comparison<uint16_t>(parts[1]);
    if (type == "u32" || type == "b32") return comparison<uint32_t>(parts[1]);
    if (type == "u64" || type == "b64") return comparison<uint64_t>(parts[1]);
    return nullptr;
  }
  if (auto it = others().find(join(parts, ".")); it != others().end()) return it->second;
  for (size_t i = 1; i + 1 < parts.size(); ++i) op += "." + parts[i];
  if (type == "s16") return of_integers<int16_t>(op);
  if (type == "u16") return of_integers<uint16_t>(op);
  if (type == "s32") return of_integers<int32_t>(op);
  if (type == "u32") return of_integers<uint32_t>(op);
  if (type == "s64") return of_integers<int64_t>(op);
  if (type == "u64") return of_integers<uint64_t>(op);
  if (type == "b16") return of_bits<uint16_t>(op);
  if (type == "b32") return of_bits<uint32_t>(op);
  if (type == "b64") return of_bits<uint64_t>(op);
  return nullptr;
}

}  // namespace mlc::ptx
