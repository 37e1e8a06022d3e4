// Arithmetic of lanes.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "simulate/amdgpu/wave.h"

namespace mlc::amdgpu {
namespace {

using Bits = uint64_t;

// Signs as an instruction wants them of a float.
Bits with_sign(const Operand& o, Bits bits) {
  if (o.absolute) bits &= 0x7FFFFFFF;
  return o.negative ? bits ^ 0x80000000 : bits;
}

// The first factor may come from another lane, which must be one that runs.
Bits first_of(Wave& w, const Instruction& i, int lane) {
  const auto l = static_cast<unsigned>(lane);
  unsigned from = l;
  if (i.exchange == Exchange::kQuad) from = (l & ~3u) | i.quad[l & 3];
  if (i.exchange == Exchange::kRowXor) from = l ^ i.quad[0];
  if (!(w.active() >> from & 1))
    throw Fault(str("lane ", lane, " reads lane ", from, ", which does not run"));
  return with_sign(i.operands[1], w.get(i.operands[1], static_cast<int>(from)));
}

// operands: to, then up to three; what does not stand there is what `to` holds.
void compute(Wave& w, const Instruction& i) {
  Bits out[64];
  const auto source = [&](int n, int lane) {
    if (n == i.operand_count) return w.get(i.operands[0], lane);  // fmac adds to what is there
    return n < i.operand_count ? with_sign(i.operands[n], w.get(i.operands[n], lane)) : 0;
  };
  w.for_lanes([&](int l) { out[l] = i.value(first_of(w, i, l), source(2, l), source(3, l)); });
  w.for_lanes([&](int l) { w.set(i.operands[0], l, out[l]); });
}

// What writes a half keeps the other one from generation 10 on (wavefronts of 32 lanes), clears it before.
void compute_half(Wave& w, const Instruction& i) {
  w.for_lanes([&](int l) {
    const Bits half =
        i.value(first_of(w, i, l), i.operand_count > 2 ? w.get(i.operands[2], l) : 0, 0) & 0xFFFF;
    const Bits other = w.lanes() == 32 ? w.get(i.operands[0], l) & 0xFFFF0000 : 0;
    w.set(i.operands[0], l, half | other);
  });
}

// to, carry out (may be none), a, b, and maybe carry in.
template <bool kSubtract, bool kReversed = false>
void add_with_carry(Wave& w, const Instruction& i) {
  const uint64_t in = i.operand_count > 4 ? w.mask(i.operands[4].first) : 0;
  uint64_t carries = 0;
  w.for_lanes([&](int l) {
    Bits a = u32(w.get(i.operands[2], l)), b = u32(w.get(i.operands[3], l));
    if (kReversed) std::swap(a, b);
    const Bits sum = kSubtract ? a - b - (in >> l & 1) : a + b + (in >> l & 1);
    carries |= (sum >> 32 & 1) << l;
    w.set(i.operands[0], l, sum);
  });
  if (i.operands[1].first != kNull) w.set_mask(i.operands[1].first, carries);
}

// to[2], carry out, a, b, c[2].
void multiply_add_wide(Wave& w, const Instruction& i) {
  uint64_t carries = 0;
  w.for_lanes([&](int l) {
    const Bits product = Bits{u32(w.get(i.operands[2], l))} * u32(w.get(i.operands[3], l));
    const Bits sum = product + w.get(i.operands[4], l);
    carries |= Bits{sum < product} << l;
    w.set(i.operands[0], l, sum);
  });
  if (i.operands[1].first != kNull) w.set_mask(i.operands[1].first, carries);
}

// Mask, a, b; a lane that does not run gives 0. `kRun`: the mask is that of the lanes that run on.
template <bool kRun>
void compare(Wave& w, const Instruction& i) {
  const int a = kRun ? 0 : 1;  // where the two stand
  uint64_t out = 0;
  w.for_lanes([&](int l) {
    Bits x = w.get(i.operands[a], l), y = w.get(i.operands[a + 1], l);
    if (i.is_float) x = with_sign(i.operands[a], x), y = with_sign(i.operands[a + 1], y);
    out |= Bits{i.condition(x, y)} << l;
  });
  w.set_mask(kRun ? int{kExec} : i.operands[0].first, out);
}

// to, if not, if so, mask.
void choose(Wave& w, const Instruction& i) {
  const uint64_t mask = w.mask(i.operands[3].first);
  w.for_lanes([&](int l) {
    const Operand& o = i.operands[mask >> l & 1 ? 2 : 1];
    w.set(i.operands[0], l, with_sign(o, w.get(o, l)));
  });
}

// Factors that are a word or half of one.
void multiply_add_mixed(Wave& w, const Instruction& i) {
  const auto source = [&](int n, int lane) {
    const Operand& o = i.operands[n];
    Bits bits = w.get(o, lane);
    if (o.part != Operand::Part::kWhole) bits = f32_bits(f16_to_f32(static_cast<uint16_t>(bits)));
    return f32(with_sign(o, bits));
  };
  w.for_lanes(
      [&](int l) { w.set(i.operands[0], l, f32_bits(std::fma(source(1, l), source(2, l), source(3, l)))); });
}

void read_first_lane(Wave& w, const Instruction& i) {
  if (!w.active()) throw Fault("the first lane is read where none runs");
  w.set_scalar(i.operands[0].first, u32(w.get(i.operands[1], std::countr_zero(w.active()))));
}

void read_lane(Wave& w, const Instruction& i) {
  const auto lane = static_cast<int>(w.get(i.operands[2]) % static_cast<unsigned>(w.lanes()));
  if (!(w.active() >> lane & 1)) throw Fault(str("lane ", lane, " is read, which does not run"));
  w.set_scalar(i.operands[0].first, u32(w.get(i.operands[1], lane)));
}

// How many of the lanes in front of this one a mask names.
template <int kFrom>
void count_lanes_before(Wave& w, const Instruction& i) {
  w.for_lanes([&](int l) {
    const int before = std::clamp(l - kFrom, 0, 32);
    const uint32_t mask = before == 32 ? ~0u : (1u << before) - 1;
    w.set(
        i.operands[0], l,
        w.get(i.operands[2], l) + static_cast<unsigned>(std::popcount(u32(w.get(i.operands[1], l)) & mask)));
  });
}

float median(float a, float b, float c) {
  if (std::isnan(a) || std::isnan(b) || std::isnan(c)) return std::fmin(std::fmin(a, b), c);
  return std::fmax(std::fmin(a, b), std::fmin(std::fmax(a, b), c));
}

// Toward zero; what does not fit becomes the nearest that does, NaN 0.
int32_t to_i32(float v) {
  if (std::isnan(v)) return 0;
  return v >= 0x1p31f ? INT32_MAX : v < -0x1p31f ? INT32_MIN : static_cast<int32_t>(v);
}
uint32_t to_u32(float v) { return !(v > 0) ? 0 : v >= 0x1p32f ? UINT32_MAX : static_cast<uint32_t>(v); }

float mantissa(float v) {
  int exponent = 0;
  return std::isfinite(v) ? std::frexp(v, &exponent) : v;
}
int exponent_of(float v) {
  int exponent = 0;
  if (std::isfinite(v)) std::frexp(v, &exponent);
  return exponent;
}

uint32_t reversed(uint32_t v) {
  uint32_t out = 0;
  for (int bit = 0; bit < 32; ++bit) out |= (v >> bit & 1) << (31 - bit);
  return out;
}
int32_t of_24_bits(Bits v) { return static_cast<int32_t>(u32(v) << 8) >> 8; }
uint32_t low_24_bits(Bits v) { return u32(v) & 0xFFFFFF; }
Bits bits_of(int32_t v) { return static_cast<uint32_t>(v); }

using Value = Bits (*)(Bits, Bits, Bits);
#define MLC_VALUE(text) [](Bits a, [[maybe_unused]] Bits b, [[maybe_unused]] Bits c) -> Bits { return text; }

const std::map<std::string, Value>& float_values() {
  static const std::map<std::string, Value> all = {
      {"v_add_f32", MLC_VALUE(f32_bits(f32(a) + f32(b)))},
      {"v_sub_f32", MLC_VALUE(f32_bits(f32(a) - f32(b)))},
      {"v_subrev_f32", MLC_VALUE(f32_bits(f32(b) - f32(a)))},
      {"v_mul_f32", MLC_VALUE(f32_bits(f32(a) * f32(b)))},
      {"v_fma_f32", MLC_VALUE(f32_bits(std::fma(f32(a), f32(b), f32(c))))},
      {"v_fmac_f32", MLC_VALUE(f32_bits(std::fma(f32(a), f32(b), f32(c))))},
      {"v_max_f32", MLC_VALUE(f32_bits(std::fmax(f32(a), f32(b))))},
      {"v_min_f32", MLC_VALUE(f32_bits(std::fmin(f32(a), f32(b))))},
      {"v_max3_f32", MLC_VALUE(f32_bits(std::fmax(std::fmax(f32(a), f32(b)), f32(c))))},
      {"v_min3_f32", MLC_VALUE(f32_bits(std::fmin(std::fmin(f32(a), f32(b)), f32(c))))},
      {"v_med3_f32", MLC_VALUE(f32_bits(median(f32(a), f32(b), f32(c))))},
      {"v_rcp_f32", MLC_VALUE(f32_bits(1.0f / f32(a)))},
      {"v_rcp_iflag_f32", MLC_VALUE(f32_bits(1.0f / f32(a)))},
      {"v_sqrt_f32", MLC_VALUE(f32_bits(std::sqrt(f32(a))))},
      {"v_rndne_f32", MLC_VALUE(f32_bits(std::nearbyint(f32(a))))},
      {"v_floor_f32", MLC_VALUE(f32_bits(std::floor(f32(a))))},
      {"v_trunc_f32", MLC_VALUE(f32_bits(std::trunc(f32(a))))},
      {"v_frexp_mant_f32", MLC_VALUE(f32_bits(mantissa(f32(a))))},
      {"v_frexp_exp_i32_f32", MLC_VALUE(bits_of(exponent_of(f32(a))))},
      {"v_ldexp_f32", MLC_VALUE(f32_bits(std::ldexp(f32(a), i32(b))))},
      {"v_cvt_f32_i32", MLC_VALUE(f32_bits(static_cast<float>(i32(a))))},
      {"v_cvt_f32_u32", MLC_VALUE(f32_bits(static_cast<float>(u32(a))))},
      {"v_cvt_i32_f32", MLC_VALUE(bits_of(to_i32(f32(a))))},
      {"v_cvt_u32_f32", MLC_VALUE(to_u32(f32(a)))},
      {"v_cvt_f32_ubyte0", MLC_VALUE(f32_bits(static_cast<float>(a & 255)))},
      {"v_cvt_f32_ubyte1", MLC_VALUE(f32_bits(static_cast<float>(a >> 8 & 255)))},
      {"v_cvt_f32_ubyte2", MLC_VALUE(f32_bits(static_cast<float>(a >> 16 & 255)))},
      {"v_cvt_f32_ubyte3", MLC_VALUE(f32_bits(static_cast<float>(a >> 24 & 255)))},
      {"v_cvt_f32_f16", MLC_VALUE(f32_bits(f16_to_f32(static_cast<uint16_t>(a))))},
      {"v_pack_b32_f16", MLC_VALUE((a & 0xFFFF) | (b & 0xFFFF) << 16)},
  };
  return all;
}

const std::map<std::string, Value>& integer_values() {
  static const std::map<std::string, Value> all = {
      {"v_mov_b32", MLC_VALUE(a)},
      {"v_not_b32", MLC_VALUE(~a)},
      {"v_and_b32", MLC_VALUE(a & b)},
      {"v_or_b32", MLC_VALUE(a | b)},
      {"v_xor_b32", MLC_VALUE(a ^ b)},
      {"v_or3_b32", MLC_VALUE(a | b | c)},
      {"v_and_or_b32", MLC_VALUE((a & b) | c)},
      {"v_xad_u32", MLC_VALUE((a ^ b) + c)},
      {"v_bfi_b32", MLC_VALUE((a & b) | (~a & c))},
      {"v_add_u32", MLC_VALUE(a + b)},
      {"v_sub_u32", MLC_VALUE(a - b)},
      {"v_subrev_u32", MLC_VALUE(b - a)},
      {"v_add3_u32", MLC_VALUE(a + b + c)},
      {"v_add_lshl_u32", MLC_VALUE((a + b) << (c & 31))},
      {"v_lshl_add_u32", MLC_VALUE((a << (b & 31)) + c)},
      {"v_lshl_or_b32", MLC_VALUE((a << (b & 31)) | c)},
      {"v_lshlrev_b32", MLC_VALUE(b << (a & 31))},
      {"v_lshrrev_b32", MLC_VALUE(u32(b) >> (a & 31))},
      {"v_ashrrev_i32", MLC_VALUE(bits_of(i32(b) >> (a & 31)))},
      {"v_bfrev_b32", MLC_VALUE(reversed(u32(a)))},
      {"v_lshlrev_b64", MLC_VALUE(b << (a & 63))},
      {"v_lshrrev_b64", MLC_VALUE(b >> (a & 63))},
      {"v_bfe_u32", MLC_VALUE(u32(a) >> (b & 31) & ((Bits{1} << (c & 31)) - 1))},
      {"v_bfe_i32",
       MLC_VALUE((c & 31) == 0 ? 0
                               : bits_of(static_cast<int32_t>(u32(u32(a) >> (b & 31)) << (32 - (c & 31))) >>
                                         (32 - (c & 31))))},
      {"v_alignbit_b32", MLC_VALUE((a << 32 | u32(b)) >> (c & 31))},
      {"v_mul_lo_u32", MLC_VALUE(a * b)},
      {"v_mul_hi_u32", MLC_VALUE(Bits{u32(a)} * u32(b) >> 32)},
      {"v_mul_hi_i32", MLC_VALUE(static_cast<Bits>(int64_t{i32(a)} * i32(b)) >> 32)},
      {"v_mul_u32_u24", MLC_VALUE(low_24_bits(a) * low_24_bits(b))},
      {"v_mul_i32_i24", MLC_VALUE(static_cast<Bits>(int64_t{of_24_bits(a)} * of_24_bits(b)))},
      {"v_mad_u32_u24", MLC_VALUE(low_24_bits(a) * low_24_bits(b) + c)},
      {"v_mad_i32_i24", MLC_VALUE(static_cast<Bits>(int64_t{of_24_bits(a)} * of_24_bits(b)) + c)},
      {"v_min_i32", MLC_VALUE(bits_of(std::min(i32(a), i32(b))))},
      {"v_max_i32", MLC_VALUE(bits_of(std::max(i32(a), i32(b))))},
      {"v_min_u32", MLC_VALUE(std::min(u32(a), u32(b)))},
      {"v_max_u32", MLC_VALUE(std::max(u32(a), u32(b)))},
      {"v_min3_i32", MLC_VALUE(bits_of(std::min({i32(a), i32(b), i32(c)})))},
      {"v_max3_i32", MLC_VALUE(bits_of(std::max({i32(a), i32(b), i32(c)})))},
      {"v_med3_i32",
       MLC_VALUE(bits_of(std::max(std::min(i32(a), i32(b)), std::min(std::max(i32(a), i32(b)), i32(c)))))},
  };
  return all;
}

// Of the low half of a register.
const std::map<std::string, Value>& half_values() {
  static const std::map<std::string, Value> all = {
      {"v_cvt_f16_f32", MLC_VALUE(f32_to_f16(f32(a)))},
      {"v_add_u16", MLC_VALUE(a + b)},
      {"v_sub_u16", MLC_VALUE(a - b)},
      {"v_lshlrev_b16", MLC_VALUE(b << (a & 15))},
      {"v_lshrrev_b16", MLC_VALUE((b & 0xFFFF) >> (a & 15))},
  };
  return all;
}

using Condition = bool (*)(Bits, Bits);
#define MLC_COMPARE(view, text)          \
  [](Bits x, Bits y) {                   \
    const auto a = view(x), b = view(y); \
    return text;                         \
  }
#define MLC_ORDERS(type, view)                                                         \
  {"lt_" type, MLC_COMPARE(view, a < b)}, {"le_" type, MLC_COMPARE(view, a <= b)},     \
      {"gt_" type, MLC_COMPARE(view, a > b)}, {"ge_" type, MLC_COMPARE(view, a >= b)}, \
      {"eq_" type, MLC_COMPARE(view, a == b)}, {                                       \
    "ne_" type, MLC_COMPARE(view, a != b)                                              \
  }

const std::map<std::string, Condition>& conditions() {
  static const std::map<std::string, Condition> all = {
      MLC_ORDERS("i32", i32),
      MLC_ORDERS("u32", u32),
      MLC_ORDERS("f32", f32),
      MLC_ORDERS("u64", Bits),
      {"neq_f32", MLC_COMPARE(f32, a != b)},
      {"lg_f32", MLC_COMPARE(f32, a < b || a > b)},
      {"nlg_f32", MLC_COMPARE(f32, !(a < b || a > b))},
      {"nlt_f32", MLC_COMPARE(f32, !(a < b))},
      {"nle_f32", MLC_COMPARE(f32, !(a <= b))},
      {"ngt_f32", MLC_COMPARE(f32, !(a > b))},
      {"nge_f32", MLC_COMPARE(f32, !(a >= b))},
      {"o_f32", MLC_COMPARE(f32, !std::isnan(a) && !std::isnan(b))},
      {"u_f32", MLC_COMPARE(f32, std::isnan(a) || std::isnan(b))},
  };
  return all;
}

bool select_compare(const std::string& mnemonic, Instruction& out) {
  const bool runs_on = mnemonic.starts_with("v_cmpx_");
  if (!runs_on && !mnemonic.starts_with("v_cmp_")) return false;
  auto it = conditions().find(mnemonic.substr(runs_on ? 7 : 6));
  if (it == conditions().end() || (runs_on && out.operand_count != 2)) return false;
  out.condition = it->second;
  out.is_float = mnemonic.ends_with("f32");
  out.run = runs_on ? compare<true> : compare<false>;
  return true;
}

}  // namespace

bool select_vector(const std::string& mnemonic, Instruction& out) {
  static const std::map<std::string, void (*)(Wave&, const Instruction&)> others = {
      {"v_add_co_u32", add_with_carry<false>},
      {"v_addc_co_u32", add_with_carry<false>},
      {"v_sub_co_u32", add_with_carry<true>},
      {"v_subb_co_u32", add_with_carry<true>},
      {"v_subrev_co_u32", add_with_carry<true, true>},
      {"v_mad_u64_u32", multiply_add_wide},
      {"v_cndmask_b32", choose},
      {"v_fma_mix_f32", multiply_add_mixed},
      {"v_readfirstlane_b32", read_first_lane},
      {"v_readlane_b32", read_lane},
      {"v_mbcnt_lo_u32_b32", count_lanes_before<0>},
      {"v_mbcnt_hi_u32_b32", count_lanes_before<32>},
  };
  if (select_compare(mnemonic, out)) return true;
  if (auto it = others.find(mnemonic); it != others.end()) {
    out.run = it->second;
    return out.exchange == Exchange::kNone;
  }
  if (auto it = half_values().find(mnemonic); it != half_values().end()) {
    out.run = compute_half;
    out.value = it->second;
    return true;
  }
  out.run = compute;
  for (const auto* values : {&float_values(), &integer_values()})
    if (auto it = values->find(mnemonic); it != values->end()) return out.value = it->second, true;
  return false;
}

}  // namespace mlc::amdgpu
