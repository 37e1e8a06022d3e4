// Matrices of a warp: ldmatrix and mma.sync of 16-bit floats. PTX ISA 8.5, sections 9.7.14.5.
#include <array>

#include "base/half.h"
#include "simulate/ptx/select.h"
#include "simulate/ptx/warp.h"

namespace mlc::ptx {
namespace {

constexpr size_t kBlock = 8;  // rows and columns of a block of halves
using Block = std::array<std::array<uint16_t, kBlock>, kBlock>;
constexpr size_t kLineBytes = kBlock * sizeof(uint16_t);

uint32_t pair(uint16_t low, uint16_t high) { return uint32_t{high} << 16 | low; }

Block read_block(Warp& w, const Instruction& i, size_t number) {
  Block block;
  for (size_t line = 0; line < kBlock; ++line) {
    const auto lane = static_cast<int>(number * kBlock + line);
    const uint64_t at = w.lanes(i.from[0])[lane] + static_cast<uint64_t>(i.offset);
    std::memcpy(block[line].data(), w.shared.at(at, kLineBytes, kLineBytes, w.thread(lane), false),
                kLineBytes);
  }
  return block;
}

// Lane l gives the address of line l % 8 of block l / 8 and gets the pair 2 (l % 4) of line l / 4 of each.
template <bool kTransposed>
void load_matrix(Warp& w, const Instruction& i, uint32_t) {
  try {
    std::array<Block, 4> blocks;
    for (size_t n = 0; n < i.lanes; ++n) blocks[n] = read_block(w, i, n);
    for (size_t n = 0; n < i.lanes; ++n)
      for (size_t l = 0; l < kLanes; ++l) {
        const size_t line = l / 4, at = l % 4 * 2;
        w.lanes(i.to[n])[l] = kTransposed ? pair(blocks[n][at][line], blocks[n][at + 1][line])
                                          : pair(blocks[n][line][at], blocks[n][line][at + 1]);
      }
  } catch (const Fault& fault) {
    throw Fault(str("line ", i.line, ": ", fault.what()));
  }
}

float half_of(Warp& w, uint32_t slot, size_t lane, size_t which) {
  const auto bits = value<uint32_t>(w.lanes(slot)[lane]);
  return f16_to_f32(static_cast<uint16_t>(bits >> (16 * which)));
}

// D = A B + C of 16 rows and 8 columns. Products are exact here and their sum is rounded once; the order and
// the rounding of a GPU's are its own.
template <size_t kDepth>
void multiply(Warp& w, const Instruction& i, uint32_t) {
  constexpr size_t kRows = 16, kRegistersA = kDepth / 4, kRegistersB = kDepth / 8;
  float a[kRows][kDepth], b[kDepth][kBlock], d[4][kLanes];
  for (size_t l = 0; l < kLanes; ++l)
    for (size_t half = 0; half < 2; ++half) {
      for (size_t n = 0; n < kRegistersA; ++n)
        a[l / 4 + n % 2 * kBlock][l % 4 * 2 + half + n / 2 * kBlock] = half_of(w, i.from[n], l, half);
      for (size_t n = 0; n < kRegistersB; ++n)
        b[l % 4 * 2 + half + n * kBlock][l / 4] = half_of(w, i.from[kRegistersA + n], l, half);
    }
  for (size_t n = 0; n < 4; ++n)
    for (size_t l = 0; l < kLanes; ++l) {
      const size_t row = l / 4 + n / 2 * kBlock, column = l % 4 * 2 + n % 2;
      double sum = value<float>(w.lanes(i.from[kRegistersA + kRegistersB + n])[l]);
      for (size_t k = 0; k < kDepth; ++k) sum += double{a[row][k]} * b[k][column];
      d[n][l] = static_cast<float>(sum);
    }
  for (size_t n = 0; n < 4; ++n)
    for (size_t l = 0; l < kLanes; ++l) w.lanes(i.to[n])[l] = bits_of(d[n][l]);
}

}  // namespace

Run select_matrix(const std::vector<std::string>& parts) {
  const std::string opcode = join(parts, ".");
  if (opcode == "ldmatrix.sync.aligned.m8n8.shared.b16") return load_matrix<false>;
  if (opcode == "ldmatrix.sync.aligned.m8n8.trans.shared.b16") return load_matrix<true>;
  if (opcode == "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32") return multiply<8>;
  if (opcode == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32") return multiply<16>;
  return nullptr;
}

}  // namespace mlc::ptx
