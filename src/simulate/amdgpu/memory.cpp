// Loads, stores and exchange through the memory that a group shares.
#include "simulate/amdgpu/wave.h"

namespace mlc::amdgpu {
namespace {

using Run = void (*)(Wave&, const Instruction&);

constexpr size_t kWord = 4;  // what hardware aligns wide accesses to

// The dword at `n` of a register range.
Operand word_of(Operand o, int n) {
  o.first = static_cast<uint16_t>(o.first + n);
  o.words = 1;
  return o;
}

// to, base, offset in bytes, to which a constant may be added.
void load_scalar(Wave& w, const Instruction& i) {
  const uint64_t at = w.get(i.operands[1]) + u32(w.get(i.operands[2])) + static_cast<uint64_t>(i.offset[0]);
  const uint8_t* from = w.global.at(at, static_cast<size_t>(i.bytes), kWord);
  for (int n = 0; n < i.bytes / 4; ++n) {
    uint32_t bits = 0;
    std::memcpy(&bits, from + 4 * n, sizeof bits);
    w.set_scalar(i.operands[0].first + n, bits);
  }
}

// An address in lanes (64 bits, "off"), or an offset of 32 bits in lanes on a scalar base.
uint64_t global_address(Wave& w, const Operand& lanes, const Operand& base, const Instruction& i, int lane) {
  const uint64_t at =
      base.kind == Operand::Kind::kNone ? w.get(lanes, lane) : w.get(base) + u32(w.get(lanes, lane));
  return at + static_cast<uint64_t>(i.offset[0]);
}

size_t alignment_of(const Instruction& i) { return std::min(static_cast<size_t>(i.bytes), kWord); }

// to, address, base.
template <bool kSigned>
void load_global(Wave& w, const Instruction& i) {
  const auto bytes = static_cast<size_t>(i.bytes);
  uint32_t out[64][4] = {};
  w.for_lanes([&](int l) {
    const uint8_t* from =
        w.global.at(global_address(w, i.operands[1], i.operands[2], i, l), bytes, alignment_of(i));
    std::memcpy(out[l], from, bytes);
    if (kSigned) out[l][0] = bytes == 1 ? uint32_t(int8_t(out[l][0])) : uint32_t(int16_t(out[l][0]));
  });
  w.for_lanes([&](int l) {
    for (int n = 0; n < i.operands[0].words; ++n) w.set(word_of(i.operands[0], n), l, out[l][n]);
  });
}

// address, from, base.
void store_global(Wave& w, const Instruction& i) {
  w.for_lanes([&](int l) {
    uint32_t words[4] = {};
    for (int n = 0; n < i.operands[1].words; ++n) words[n] = u32(w.get(word_of(i.operands[1], n), l));
    const auto bytes = static_cast<size_t>(i.bytes);
    std::memcpy(w.global.at(global_address(w, i.operands[0], i.operands[2], i, l), bytes, alignment_of(i)),
                words, bytes);
  });
}

uint8_t* shared_place(Wave& w, const Instruction& i, const Operand& address, int part, int lane, bool store) {
  const uint64_t at =
      u32(w.get(address, lane)) + static_cast<uint64_t>(i.offset[part]) * (i.stride ? i.stride : 1);
  return w.shared.at(at, static_cast<size_t>(i.bytes), alignment_of(i), w.number(), store);
}

// to, address: of one place or of two.
template <int kPlaces>
void load_shared(Wave& w, const Instruction& i) {
  uint32_t out[64][4] = {};
  const int words = i.operands[0].words / kPlaces;
  w.for_lanes([&](int l) {
    for (int p = 0; p < kPlaces; ++p)
      std::memcpy(&out[l][p * words], shared_place(w, i, i.operands[1], p, l, false),
                  static_cast<size_t>(i.bytes));
  });
  w.for_lanes([&](int l) {
    for (int n = 0; n < i.operands[0].words; ++n) w.set(word_of(i.operands[0], n), l, out[l][n]);
  });
}

// address, from, and from for the second place.
template <int kPlaces>
void store_shared(Wave& w, const Instruction& i) {
  w.for_lanes([&](int l) {
    for (int p = 0; p < kPlaces; ++p) {
      uint32_t words[4] = {};
      const Operand& from = i.operands[1 + p];
      for (int n = 0; n < from.words; ++n) words[n] = u32(w.get(word_of(from, n), l));
      std::memcpy(shared_place(w, i, i.operands[0], p, l, true), words, static_cast<size_t>(i.bytes));
    }
  });
}

// to, from; lanes of each 32 by the mask.
void swizzle(Wave& w, const Instruction& i) {
  uint32_t out[64];
  w.for_lanes([&](int l) {
    const int from = l ^ i.quad[0];
    if (!(w.active() >> from & 1)) throw Fault(str("lane ", l, " reads lane ", from, ", which does not run"));
    out[l] = u32(w.get(i.operands[1], from));
  });
  w.for_lanes([&](int l) { w.set(i.operands[0], l, out[l]); });
}

// to, lane in bytes, from.
void permute(Wave& w, const Instruction& i) {
  uint32_t out[64];
  w.for_lanes([&](int l) {
    const uint64_t at = u32(w.get(i.operands[1], l)) + static_cast<uint64_t>(i.offset[0]);
    const auto from = static_cast<int>(at / 4 % static_cast<unsigned>(w.lanes()));
    if (!(w.active() >> from & 1)) throw Fault(str("lane ", l, " reads lane ", from, ", which does not run"));
    out[l] = u32(w.get(i.operands[2], from));
  });
  w.for_lanes([&](int l) { w.set(i.operands[0], l, out[l]); });
}

struct Entry {
  Run run;
  int bytes = 4, stride = 0;
};

const std::map<std::string, Entry>& entries() {
  static const std::map<std::string, Entry> all = {
      {"s_load_dword", {load_scalar, 4}},
      {"s_load_dwordx2", {load_scalar, 8}},
      {"s_load_dwordx4", {load_scalar, 16}},
      {"s_load_dwordx8", {load_scalar, 32}},
      {"s_load_dwordx16", {load_scalar, 64}},
      {"global_load_ubyte", {load_global<false>, 1}},
      {"global_load_sbyte", {load_global<true>, 1}},
      {"global_load_ushort", {load_global<false>, 2}},
      {"global_load_sshort", {load_global<true>, 2}},
      {"global_load_dword", {load_global<false>, 4}},
      {"global_load_dwordx2", {load_global<false>, 8}},
      {"global_load_dwordx3", {load_global<false>, 12}},
      {"global_load_dwordx4", {load_global<false>, 16}},
      {"global_store_byte", {store_global, 1}},
      {"global_store_short", {store_global, 2}},
      {"global_store_dword", {store_global, 4}},
      {"global_store_dwordx2", {store_global, 8}},
      {"global_store_dwordx3", {store_global, 12}},
      {"global_store_dwordx4", {store_global, 16}},
      {"ds_read_b32", {load_shared<1>, 4}},
      {"ds_read_b64", {load_shared<1>, 8}},
      {"ds_read_b96", {load_shared<1>, 12}},
      {"ds_read_b128", {load_shared<1>, 16}},
      {"ds_read2_b32", {load_shared<2>, 4, 4}},
      {"ds_read2st64_b32", {load_shared<2>, 4, 4 * 64}},
      {"ds_read2_b64", {load_shared<2>, 8, 8}},
      {"ds_read2st64_b64", {load_shared<2>, 8, 8 * 64}},
      {"ds_write_b32", {store_shared<1>, 4}},
      {"ds_write_b64", {store_shared<1>, 8}},
      {"ds_write_b96", {store_shared<1>, 12}},
      {"ds_write_b128", {store_shared<1>, 16}},
      {"ds_write2_b32", {store_shared<2>, 4, 4}},
      {"ds_write2st64_b32", {store_shared<2>, 4, 4 * 64}},
      {"ds_write2_b64", {store_shared<2>, 8, 8}},
      {"ds_write2st64_b64", {store_shared<2>, 8, 8 * 64}},
      {"ds_swizzle_b32", {swizzle}},
      {"ds_bpermute_b32", {permute}},
  };
  return all;
}

}  // namespace

bool select_memory(const std::string& mnemonic, Instruction& out) {
  auto it = entries().find(mnemonic);
  if (it == entries().end()) return false;
  out.run = it->second.run;
  out.bytes = it->second.bytes;
  out.stride = it->second.stride;
  return true;
}

}  // namespace mlc::amdgpu
