// Physical layouts of group-quantized weights [N, K]: where each code and each scale lies. The repack kernel and every
// load ask the same functions here, so they cannot disagree.
//
// A row's group of codes is four u32 words in every layout; a parameter is one u8 buffer, codes then scales:
//   "packed"  the file's order: word w of a row holds codes k = c*w .. c*w+c-1 (c = 8 or 10), lowest bits first.
//             NK: codes [N][groups][4] u32, scales [N][groups].   KN: codes [groups][4][N] u32, scales [groups][N].
//   "tileR"   (R = 4, 8, 16, 32) tiles of R rows: codes [N/R][groups][4][R] u32, scales [N/R][groups][R]; N is rounded
//             up to R with codes and scales of zero. 4-bit codes are permuted inside a group so that bytes hold
//             four consecutive k: word j, byte b has k = 4j + b in its low nibble and k = 4(j+4) + b in its high one.
#pragma once

#include <functional>
#include <string>

#include "base/target/target.h"
#include "graph/ir.h"
#include "kernel/builder.h"

namespace mlc::kernel {

struct WeightLayout {
  WeightFormat format;
  int64_t n = 0, k = 0;   // of the real matrix
  int tile_rows = 0;      // 0: "packed"
  int64_t groups() const { return format.groups(k); }
  int64_t padded_rows() const { return tile_rows ? (n + tile_rows - 1) / tile_rows * tile_rows : n; }
  int64_t scale_offset() const { return padded_rows() * groups() * 16; }  // 4 words of 4 bytes
  int64_t bytes() const { return scale_offset() + padded_rows() * groups() * size_of(format.dtype); }
};

// Internal error when the type is no group-quantized matrix or its layout is unknown.
WeightLayout weight_layout(const graph::TensorType& type);

// Where code k (0 <= k < group) of a group lies.
struct CodeSlot {
  int word = 0, shift = 0;
};
CodeSlot code_slot(const WeightLayout& layout, int k);
// The inverse: k of the code at bits [position * bits, ...) of a word.
ExprRef code_index(const WeightLayout& layout, const ExprRef& word, int position);

// Reads a weight in its physical buffer for `lanes` consecutive rows from `row` on (`row` a multiple of `lanes` and
// lanes <= tile_rows in a tile layout, unless `scattered`). Rows past n give codes and scales of unspecified value, but
// never read outside of the buffer.
struct WeightReader {
  KernelBuilder& k;
  WeightLayout layout;
  BufferRef buffer;  // u8
  bool scattered = false;

  // Words of group `group`: u32 lanes, one row each.
  ExprRef words(ExprRef row, ExprRef group, ExprRef word, int lanes) const;
  // Byte offset of the group's first word of a row; in a tile layout its tile's words follow.
  ExprRef group_offset(ExprRef row, ExprRef group) const { return word_offset(row, group, int_const(0)); }
  // Scales as f32, one row each.
  ExprRef scales(ExprRef row, ExprRef group, int lanes) const;
  // (code - zero point) of the code at bits [position * bits, ...) of the words, as f32.
  ExprRef centered(const ExprRef& word, int position) const;

 private:
  ExprRef word_offset(ExprRef row, ExprRef group, ExprRef word) const;
  ExprRef scale_offset(ExprRef row, ExprRef group) const;
  ExprRef lanes_from(ExprRef row, int lanes, Type type, const std::function<ExprRef(ExprRef)>& offset) const;
};

// The kernel that makes the layout from the file's arrays: q_weight u32, q_scale -> u8.
Function lower_repack(const graph::TensorType& parameter, const Target& target);

}  // namespace mlc::kernel
