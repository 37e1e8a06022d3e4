// Looks at the bits: of the magnitudes of floats as integers, those past a threshold are the ones in
// question.
#include "weights/non_finite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc::weights {
namespace {

constexpr size_t kListed = 4;  // tensors in a note
constexpr uint32_t kSign = 0x80000000u, kInfinity = 0x7F800000u;

// The smallest magnitude that rounds to infinity, as bits.
uint32_t overflow_bits(DType dtype) {
  if (dtype == DType::kF16) return std::bit_cast<uint32_t>(65520.0f);
  return dtype == DType::kBF16 ? 0x7F7F8000u : kInfinity;
}

// Whether the magnitude of any value is at least `threshold`: adding what is left to 2^31 carries into the
// top bit.
bool any_reaches(std::span<const float> values, uint32_t threshold) {
  using Lanes __attribute__((vector_size(16))) = uint32_t;
  constexpr size_t kLanes = 4, kStep = 4 * kLanes;
  const uint32_t rest = kSign - threshold;
  Lanes seen[4] = {};
  size_t i = 0;
  for (; i + kStep <= values.size(); i += kStep) {
    Lanes bits[4];
    std::memcpy(bits, &values[i], sizeof bits);
    seen[0] |= (bits[0] & ~kSign) + rest;
    seen[1] |= (bits[1] & ~kSign) + rest;
    seen[2] |= (bits[2] & ~kSign) + rest;
    seen[3] |= (bits[3] & ~kSign) + rest;
  }
  const Lanes joined = seen[0] | seen[1] | seen[2] | seen[3];
  uint32_t all = joined[0] | joined[1] | joined[2] | joined[3];
  for (; i < values.size(); ++i) all |= (std::bit_cast<uint32_t>(values[i]) & ~kSign) + rest;
  return (all & kSign) != 0;
}

std::string counts_of(const NonFinite& found) {
  std::vector<std::string> parts;
  if (found.nan > 0) parts.push_back(str(found.nan, " NaN"));
  if (found.infinite > 0) parts.push_back(str(found.infinite, " infinite"));
  return join(parts, ", ");
}

std::string listed(const std::vector<std::string>& tensors) {
  const std::vector<std::string> first(
      tensors.begin(), tensors.begin() + static_cast<int64_t>(std::min(tensors.size(), kListed)));
  return str(join(first, "; "),
             tensors.size() > kListed ? str("; and ", tensors.size() - kListed, " more tensors") : "");
}

}  // namespace

void NonFinite::add(const NonFinite& other) {
  nan += other.nan;
  infinite += other.infinite;
  overflowing += other.overflowing;
}

NonFinite count_non_finite(std::span<const float> values, DType dtype) {
  NonFinite found;
  const uint32_t threshold = overflow_bits(dtype);
  if (!any_reaches(values, threshold)) return found;
  for (float value : values) {
    const uint32_t bits = std::bit_cast<uint32_t>(value) & ~kSign;
    if (bits > kInfinity)
      ++found.nan;
    else if (bits == kInfinity)
      ++found.infinite;
    else if (bits >= threshold)
      ++found.overflowing;
  }
  return found;
}

NonFinite count_non_finite_blocks(std::span<const std::byte> scales) {
  constexpr uint16_t kHalfInfinity = 0x7C00;
  constexpr int64_t kBlock = 32;
  NonFinite found;
  for (size_t i = 0; i + 2 <= scales.size(); i += 2) {
    uint16_t bits;
    std::memcpy(&bits, &scales[i], sizeof bits);
    bits &= 0x7FFF;
    if (bits > kHalfInfinity) found.nan += kBlock;
    if (bits == kHalfInfinity) found.infinite += kBlock;
  }
  return found;
}

std::vector<std::string> non_finite_notes(const std::map<int, NonFinite>& found,
                                          const Checkpoint& checkpoint) {
  std::vector<std::string> wrong, overflowing, notes;
  for (const auto& [index, counts] : found) {
    const SourceTensor& tensor = checkpoint.tensors()[static_cast<size_t>(index)];
    const std::string where = str(checkpoint.files()[static_cast<size_t>(tensor.file)], ": tensor ",
                                  shown_name(tensor.stored_name.empty() ? tensor.name : tensor.stored_name));
    if (counts.nan + counts.infinite > 0) wrong.push_back(str(where, " holds ", counts_of(counts)));
    if (counts.overflowing > 0) overflowing.push_back(str(where, " holds ", counts.overflowing));
  }
  if (!wrong.empty())
    notes.push_back(str("values that are not finite numbers: ", listed(wrong),
                        "; what the model computes from them is no number either"));
  if (!overflowing.empty())
    notes.push_back(str("values too large for the quantization's float type, stored as infinite: ",
                        listed(overflowing), "; choose one with bf16 or f32 in its name"));
  return notes;
}

}  // namespace mlc::weights
