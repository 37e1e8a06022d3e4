// Arithmetic of a wavefront's scalars, and of its masks of lanes.
#include <algorithm>

#include "simulate/amdgpu/wave.h"

namespace mlc::amdgpu {
namespace {

using Bits = uint64_t;
using Run = void (*)(Wave&, const Instruction&);

Bits a_of(Wave& w, const Instruction& i) { return w.get(i.operands[1]); }
Bits b_of(Wave& w, const Instruction& i) { return w.get(i.operands[2]); }
int32_t short_of(Bits bits) { return static_cast<int16_t>(bits); }

// What the condition code becomes.
enum class Flag { kKept, kNonzero };

template <Flag kFlag>
void compute(Wave& w, const Instruction& i) {
  Bits out = i.value(a_of(w, i), i.operand_count > 2 ? b_of(w, i) : 0, 0);
  if (i.operands[0].words == 1) out = u32(out);
  w.set(i.operands[0], out);
  if (kFlag == Flag::kNonzero) w.scc = out != 0;
}

template <bool kSubtract, bool kCarryIn>
void add(Wave& w, const Instruction& i) {
  const Bits a = u32(a_of(w, i)), b = u32(b_of(w, i)), in = kCarryIn && w.scc;
  const Bits sum = kSubtract ? a - b - in : a + b + in;
  w.set(i.operands[0], u32(sum));
  w.scc = sum >> 32 & 1;
}

template <bool kSubtract>
void add_signed(Wave& w, const Instruction& i) {
  const int64_t a = i32(a_of(w, i)), b = i32(b_of(w, i)), sum = kSubtract ? a - b : a + b;
  w.set(i.operands[0], u32(static_cast<Bits>(sum)));
  w.scc = sum != static_cast<int32_t>(sum);
}

void add_short(Wave& w, const Instruction& i) {
  const int64_t sum = int64_t{i32(w.get(i.operands[0]))} + short_of(a_of(w, i));
  w.set(i.operands[0], u32(static_cast<Bits>(sum)));
  w.scc = sum != static_cast<int32_t>(sum);
}

void multiply_short(Wave& w, const Instruction& i) {
  const int64_t product = int64_t{i32(w.get(i.operands[0]))} * short_of(a_of(w, i));
  w.set(i.operands[0], u32(static_cast<Bits>(product)));
}

void move_short(Wave& w, const Instruction& i) {
  w.set(i.operands[0], static_cast<uint32_t>(short_of(a_of(w, i))));
}

// The first where that is chosen, which the condition code says.
template <bool kMax, typename T>
void choose_extreme(Wave& w, const Instruction& i) {
  const T a = static_cast<T>(u32(a_of(w, i))), b = static_cast<T>(u32(b_of(w, i)));
  w.scc = kMax ? a > b : a < b;
  w.set(i.operands[0], static_cast<uint32_t>(w.scc ? a : b));
}

void select_by_flag(Wave& w, const Instruction& i) { w.set(i.operands[0], w.scc ? a_of(w, i) : b_of(w, i)); }

// (offset in 5 bits, width from bit 16 on).
template <bool kSigned>
void extract(Wave& w, const Instruction& i) {
  const Bits a = u32(a_of(w, i)) >> (b_of(w, i) & 31), width = std::min(b_of(w, i) >> 16 & 127, Bits{32});
  const Bits part = a & ((Bits{1} << width) - 1);
  const bool negative = kSigned && width > 0 && (part >> (width - 1) & 1);
  const Bits out = u32(negative ? part | ~Bits{0} << width : part);
  w.set(i.operands[0], out);
  w.scc = out != 0;
}

// to = lanes that ran; those that run on = `value` of the operand and them.
void narrow(Wave& w, const Instruction& i) {
  const Bits before = w.active(), chosen = w.mask(i.operands[1].first);
  const Bits after = i.value(chosen, before, 0);
  w.set_mask(i.operands[0].first, before);
  w.set_mask(kExec, after);
  w.scc = after != 0;
}

void compare(Wave& w, const Instruction& i) {
  w.scc = i.condition(w.get(i.operands[0]), w.get(i.operands[1]));
}
template <bool kSet>
void test_bit(Wave& w, const Instruction& i) {
  w.scc = (w.get(i.operands[0]) >> (w.get(i.operands[1]) & 31) & 1) == kSet;
}
void compare_short(Wave& w, const Instruction& i) {
  w.scc = i.condition(w.get(i.operands[0]), static_cast<Bits>(short_of(w.get(i.operands[1]))));
}

using Value = Bits (*)(Bits, Bits, Bits);
struct Entry {
  Run run;
  Value value = nullptr;
};
#define MLC_SCALAR(text) [](Bits a, [[maybe_unused]] Bits b, Bits) -> Bits { return text; }

const std::map<std::string, Entry>& entries() {
  constexpr Run kept = compute<Flag::kKept>, nonzero = compute<Flag::kNonzero>;
  static const std::map<std::string, Entry> all = {
      {"s_mov_b32", {kept, MLC_SCALAR(a)}},
      {"s_mov_b64", {kept, MLC_SCALAR(a)}},
      {"s_movk_i32", {move_short}},
      {"s_add_u32", {add<false, false>}},
      {"s_addc_u32", {add<false, true>}},
      {"s_sub_u32", {add<true, false>}},
      {"s_subb_u32", {add<true, true>}},
      {"s_add_i32", {add_signed<false>}},
      {"s_sub_i32", {add_signed<true>}},
      {"s_addk_i32", {add_short}},
      {"s_mulk_i32", {multiply_short}},
      {"s_mul_i32", {kept, MLC_SCALAR(a * b)}},
      {"s_mul_hi_u32", {kept, MLC_SCALAR(Bits{u32(a)} * u32(b) >> 32)}},
      {"s_mul_hi_i32", {kept, MLC_SCALAR(static_cast<Bits>(int64_t{i32(a)} * i32(b)) >> 32)}},
      {"s_and_b32", {nonzero, MLC_SCALAR(a & b)}},
      {"s_and_b64", {nonzero, MLC_SCALAR(a & b)}},
      {"s_or_b32", {nonzero, MLC_SCALAR(a | b)}},
      {"s_or_b64", {nonzero, MLC_SCALAR(a | b)}},
      {"s_xor_b32", {nonzero, MLC_SCALAR(a ^ b)}},
      {"s_xor_b64", {nonzero, MLC_SCALAR(a ^ b)}},
      {"s_andn2_b32", {nonzero, MLC_SCALAR(a & ~b)}},
      {"s_andn2_b64", {nonzero, MLC_SCALAR(a & ~b)}},
      {"s_not_b32", {nonzero, MLC_SCALAR(~a)}},
      {"s_not_b64", {nonzero, MLC_SCALAR(~a)}},
      {"s_lshl_b32", {nonzero, MLC_SCALAR(a << (b & 31))}},
      {"s_lshl_b64", {nonzero, MLC_SCALAR(a << (b & 63))}},
      {"s_lshr_b32", {nonzero, MLC_SCALAR(u32(a) >> (b & 31))}},
      {"s_lshr_b64", {nonzero, MLC_SCALAR(a >> (b & 63))}},
      {"s_ashr_i32", {nonzero, MLC_SCALAR(static_cast<Bits>(i32(a) >> (b & 31)))}},
      {"s_ashr_i64", {nonzero, MLC_SCALAR(static_cast<Bits>(static_cast<int64_t>(a) >> (b & 63)))}},
      {"s_bitcmp0_b32", {test_bit<false>}},
      {"s_bitcmp1_b32", {test_bit<true>}},
      {"s_bfe_u32", {extract<false>}},
      {"s_bfe_i32", {extract<true>}},
      {"s_min_i32", {choose_extreme<false, int32_t>}},
      {"s_max_i32", {choose_extreme<true, int32_t>}},
      {"s_min_u32", {choose_extreme<false, uint32_t>}},
      {"s_max_u32", {choose_extreme<true, uint32_t>}},
      {"s_cselect_b32", {select_by_flag}},
      {"s_cselect_b64", {select_by_flag}},
      {"s_and_saveexec", {narrow, MLC_SCALAR(a & b)}},
      {"s_andn2_saveexec", {narrow, MLC_SCALAR(a & ~b)}},
      {"s_or_saveexec", {narrow, MLC_SCALAR(a | b)}},
      {"s_xor_saveexec", {narrow, MLC_SCALAR(a ^ b)}},
  };
  return all;
}

using Condition = bool (*)(Bits, Bits);
#define MLC_ORDER(view, op) [](Bits a, Bits b) { return view(a) op view(b); }
#define MLC_SCALAR_ORDERS(type, view)                                                                    \
  {"lt_" type, MLC_ORDER(view, <)}, {"le_" type, MLC_ORDER(view, <=)}, {"gt_" type, MLC_ORDER(view, >)}, \
      {"ge_" type, MLC_ORDER(view, >=)}, {"eq_" type, MLC_ORDER(view, ==)}, {                            \
    "lg_" type, MLC_ORDER(view, !=)                                                                      \
  }

const std::map<std::string, Condition>& conditions() {
  static const std::map<std::string, Condition> all = {
      MLC_SCALAR_ORDERS("i32", i32), MLC_SCALAR_ORDERS("u32", u32), MLC_SCALAR_ORDERS("u64", Bits)};
  return all;
}

bool control(const std::string& mnemonic, Instruction& out) {
  using Taken = bool (*)(const Wave&);
  static const std::map<std::string, Taken> branches = {
      {"s_branch", nullptr},
      {"s_cbranch_scc0", [](const Wave& w) { return !w.scc; }},
      {"s_cbranch_scc1", [](const Wave& w) { return w.scc; }},
      {"s_cbranch_vccz", [](const Wave& w) { return w.mask(kVcc) == 0; }},
      {"s_cbranch_vccnz", [](const Wave& w) { return w.mask(kVcc) != 0; }},
      {"s_cbranch_execz", [](const Wave& w) { return w.active() == 0; }},
      {"s_cbranch_execnz", [](const Wave& w) { return w.active() != 0; }},
  };
  // Loads here have arrived when the next instruction runs, and caches hold nothing.
  static const char* const nothing[] = {"s_waitcnt",      "s_waitcnt_vscnt", "s_nop",
                                        "s_clause",       "s_inst_prefetch", "s_code_end",
                                        "buffer_gl0_inv", "buffer_wbinvl1"};
  if (auto it = branches.find(mnemonic); it != branches.end()) {
    out.control = Control::kBranch;
    out.taken = it->second;
    return true;
  }
  if (std::find(std::begin(nothing), std::end(nothing), mnemonic) != std::end(nothing))
    out.control = Control::kNothing;
  if (mnemonic == "s_barrier") out.control = Control::kBarrier;
  if (mnemonic == "s_endpgm") out.control = Control::kEnd;
  return out.control != Control::kNone;
}

}  // namespace

bool select_scalar(const std::string& mnemonic, Instruction& out) {
  if (control(mnemonic, out)) return true;
  const bool is_short = mnemonic.starts_with("s_cmpk_");
  if (is_short || mnemonic.starts_with("s_cmp_")) {
    auto it = conditions().find(mnemonic.substr(is_short ? 7 : 6));
    if (it == conditions().end()) return false;
    out.condition = it->second;
    out.run = is_short ? compare_short : compare;
    return !is_short || mnemonic.ends_with("i32");
  }
  std::string name = mnemonic;
  if (const size_t at = name.find("_saveexec_b"); at != name.npos) name.resize(at + 9);
  auto it = entries().find(name);
  if (it == entries().end()) return false;
  out.run = it->second.run;
  out.value = it->second.value;
  return true;
}

}  // namespace mlc::amdgpu
