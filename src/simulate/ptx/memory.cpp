// Moves, loads, stores and exchange between lanes. PTX ISA 8.5, section 9.7.9.
#include "simulate/ptx/select.h"
#include "simulate/ptx/warp.h"

namespace mlc::ptx {
namespace {

using Parts = std::vector<std::string>;

template <typename T>
void move(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(value<T>(a[l])); });
}

// mov.b32 %r, {%low, %high} and back, of parts of type T.
template <typename T>
void pack(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *to = w.lanes(i.to[0]), *low = w.lanes(i.from[0]), *high = w.lanes(i.from[1]);
  for_lanes(mask, [&](int l) { to[l] = uint64_t{value<T>(high[l])} << (8 * sizeof(T)) | value<T>(low[l]); });
}
template <typename T>
void unpack(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t *low = w.lanes(i.to[0]), *high = w.lanes(i.to[1]), *a = w.lanes(i.from[0]);
  for_lanes(mask, [&](int l) {
    const uint64_t bits = a[l];
    low[l] = value<T>(bits);
    high[l] = value<T>(bits >> (8 * sizeof(T)));
  });
}

enum class Space { kGlobal, kShared };

template <Space kSpace>
uint8_t* place(Warp& w, const Instruction& i, uint32_t slot, int lane, size_t bytes, bool store) {
  const uint64_t address = w.lanes(slot)[lane] + static_cast<uint64_t>(i.offset);
  try {
    return kSpace == Space::kShared ? w.shared.at(address, bytes, bytes, w.thread(lane), store)
                                    : w.global.at(address, bytes, bytes);
  } catch (const Fault& fault) {
    throw Fault(str("line ", i.line, ": ", fault.what()));
  }
}

template <typename T, Space kSpace>
void load(Warp& w, const Instruction& i, uint32_t mask) {
  for_lanes(mask, [&](int l) {
    const uint8_t* at = place<kSpace>(w, i, i.from[0], l, sizeof(T) * i.lanes, false);
    for (int n = 0; n < i.lanes; ++n) {
      T v;
      std::memcpy(&v, at + n * sizeof(T), sizeof v);
      w.lanes(i.to[n])[l] = bits_of(v);
    }
  });
}

template <typename T, Space kSpace>
void store(Warp& w, const Instruction& i, uint32_t mask) {
  for_lanes(mask, [&](int l) {
    uint8_t* at = place<kSpace>(w, i, i.to[0], l, sizeof(T) * i.lanes, true);
    for (int n = 0; n < i.lanes; ++n) {
      const T v = value<T>(w.lanes(i.from[n])[l]);
      std::memcpy(at + n * sizeof(T), &v, sizeof v);
    }
  });
}

template <typename T>
void load_parameter(Warp& w, const Instruction& i, uint32_t mask) {
  if (i.offset < 0 || static_cast<size_t>(i.offset) + sizeof(T) > w.call.parameters.size())
    throw Fault(str("line ", i.line, ": a parameter that was not passed"));
  T v;
  std::memcpy(&v, w.call.parameters.data() + i.offset, sizeof v);
  uint64_t* to = w.lanes(i.to[0]);
  for_lanes(mask, [&](int l) { to[l] = bits_of(v); });
}

enum class Exchange { kButterfly, kIndex };

// shfl.sync of whole warps: c is 31 and the members are all lanes.
template <Exchange kHow>
void exchange(Warp& w, const Instruction& i, uint32_t mask) {
  if (value<uint32_t>(w.lanes(i.from[3])[0]) != mask || mask != 0xFFFFFFFF)
    throw Fault(str("line ", i.line, ": a shuffle of members that are not all lanes"));
  if (value<uint32_t>(w.lanes(i.from[2])[0]) != 31)
    throw Fault(str("line ", i.line, ": a shuffle of part of a warp"));
  uint64_t before[kLanes];
  std::memcpy(before, w.lanes(i.from[0]), sizeof before);
  uint64_t *to = w.lanes(i.to[0]), *b = w.lanes(i.from[1]);
  for (int l = 0; l < kLanes; ++l) {
    const uint32_t other = kHow == Exchange::kButterfly ? static_cast<uint32_t>(l) ^ value<uint32_t>(b[l])
                                                        : value<uint32_t>(b[l]);
    if (other >= kLanes) throw Fault(str("line ", i.line, ": a shuffle from lane ", other));
    to[l] = value<uint32_t>(before[other]);
  }
}

size_t size_of_type(const std::string& type) {
  if (type == "pred") return 1;
  const std::string bits = type.substr(1);
  return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
}

bool is_signed(const std::string& type) { return type[0] == 's'; }

template <Space kSpace>
Run load_of(const std::string& type) {
  switch (size_of_type(type)) {
    case 1: return is_signed(type) ? load<int8_t, kSpace> : load<uint8_t, kSpace>;
    case 2: return is_signed(type) ? load<int16_t, kSpace> : load<uint16_t, kSpace>;
    case 4: return load<uint32_t, kSpace>;
    case 8: return load<uint64_t, kSpace>;
    default: return nullptr;
  }
}

template <Space kSpace>
Run store_of(const std::string& type) {
  switch (size_of_type(type)) {
    case 1: return store<uint8_t, kSpace>;
    case 2: return store<uint16_t, kSpace>;
    case 4: return store<uint32_t, kSpace>;
    case 8: return store<uint64_t, kSpace>;
    default: return nullptr;
  }
}

Run move_of(const Parts& parts) {
  const size_t size = size_of_type(parts.back());
  if (parts[0] == "mov.pack") return size == 4 ? pack<uint16_t> : size == 8 ? pack<uint32_t> : nullptr;
  if (parts[0] == "mov.unpack") return size == 4 ? unpack<uint16_t> : size == 8 ? unpack<uint32_t> : nullptr;
  switch (size) {
    case 1: return move<uint8_t>;
    case 2: return move<uint16_t>;
    case 4: return move<uint32_t>;
    case 8: return move<uint64_t>;
    default: return nullptr;
  }
}

}  // namespace

Run select_memory(const Parts& parts) {
  const std::string& type = parts.back();
  if (parts[0].starts_with("mov")) return move_of(parts);
  if (parts[0] == "shfl" && parts.size() == 4 && parts[1] == "sync" && type == "b32")
    return parts[2] == "bfly"  ? exchange<Exchange::kButterfly>
           : parts[2] == "idx" ? exchange<Exchange::kIndex>
                               : nullptr;
  if (parts.size() < 3) return nullptr;
  if (parts[0] == "ld" && parts[1] == "param") {
    const size_t size = size_of_type(type);
    return size == 4 ? load_parameter<uint32_t> : size == 8 ? load_parameter<uint64_t> : nullptr;
  }
  if (parts[0] == "ld" && parts[1] == "global") return load_of<Space::kGlobal>(type);
  if (parts[0] == "ld" && parts[1] == "shared") return load_of<Space::kShared>(type);
  if (parts[0] == "st" && parts[1] == "global") return store_of<Space::kGlobal>(type);
  if (parts[0] == "st" && parts[1] == "shared") return store_of<Space::kShared>(type);
  return nullptr;
}

Run select(const Parts& parts) {
  for (Run (*family)(const Parts&) : {select_arithmetic, select_conversion, select_memory, select_matrix})
    if (Run run = family(parts)) return run;
  return nullptr;
}

}  // namespace mlc::ptx
