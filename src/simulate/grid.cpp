// Memory of simulated GPUs.
#include "simulate/grid.h"

#include <algorithm>

namespace mlc {

// Garbage, as a GPU leaves it: NaNs.
void SharedMemory::begin_group() {
  std::fill(bytes_.begin(), bytes_.end(), uint8_t{0xFF});
  ++epoch_;
}

uint8_t* SharedMemory::at(uint64_t address, size_t bytes, size_t alignment, int user, bool store) {
  if (bytes > bytes_.size() || address > bytes_.size() - bytes)
    throw Fault(
        str(who_, " ", user, " touches byte ", address, " of ", bytes_.size(), " bytes of shared memory"));
  if (address % alignment)
    throw Fault(str(who_, " ", user, " touches ", bytes, " bytes of shared memory at ", address,
                    ", which is not aligned"));
  const auto me = static_cast<int16_t>(user);
  for (size_t w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    Word& word = words_[w];
    const bool stored = word.store_epoch == epoch_ && word.storer != me;
    const bool loaded = store && word.load_epoch == epoch_ && word.loader != me;
    if (stored || loaded)
      throw Fault(str(who_, "s ", stored ? word.storer : word.loader, " and ", user, " meet at byte ", 4 * w,
                      " of shared memory without a barrier between"));
    if (store) {
      word.store_epoch = epoch_, word.storer = me;
    } else {
      word.loader = word.load_epoch == epoch_ && word.loader != me ? kMany : me;
      word.load_epoch = epoch_;
    }
  }
  return bytes_.data() + address;
}

uint8_t* GlobalMemory::at(uint64_t address, size_t bytes, size_t alignment) {
  if (address < begin_ || address > end_ || end_ - address < bytes) {
    auto it = live_.upper_bound(address);
    if (it == live_.begin() || std::prev(it)->second < address || std::prev(it)->second - address < bytes)
      throw Fault(str("an access of ", bytes, " bytes outside of live memory"));
    --it;
    begin_ = it->first, end_ = it->second;
  }
  if (address % alignment)
    throw Fault(str("an access of ", bytes, " bytes of global memory that is not aligned"));
  return reinterpret_cast<uint8_t*>(address);
}

}  // namespace mlc
