// Physical layouts of group-quantized weights [N, K]: where each code and each scale lies. The repack kernel
// and every load ask the same functions here, so they cannot disagree.
//
// A row's group of codes is four u32 words in every layout, of 8 bits half of what shares a scale in the
// file; a parameter is one u8 buffer, codes then scales (where a file's group is several of these, one for
// them):
//   "packed"  the file's order: word w of a row holds codes k = c*w .. c*w+c-1 (c = 8 or 10), lowest bits
//   first.
//             NK: codes [N][groups][4] u32, scales [N][groups].   KN: codes [groups][4][N] u32, scales
//             [groups][N].
//   "tileR"   (R = 4, 8, 16, 32) tiles of R rows: codes [N/R][groups][4][R] u32, scales [N/R][groups][R]; N
//   is rounded
//             up to R with codes and scales of zero. Codes are permuted inside a group into steps: byte b of
//             a word has codes k = 4s + b of steps s, so that the same bits of a word's bytes are four
//             consecutive codes. 4 bits: word j has step j in its low nibbles, step j + 4 in the high ones.
//             8 bits: word j is step j.
//             3 bits: of word j bits 0-2 are step 2j and bits 3-5 step 2j + 1. Steps 8 and 9 are split: their
//             low two bits are bits 6-7 of words 0 and 2, their high one is bit 6 of words 1 and 3.
//
// Where the format's zero point is no constant (docs/weight-formats.md), a group of codes is still 32 of a
// row, and in place of its scale stands a u32 of two halves: the scale, and the zero point (AWQ: float16) or
// minimum (paired: bfloat16). Kernels compute (code - 7) * scale as always; the value of code 7 is an offset,
// which meets the sum of the group's activations.
//
// 8-bit floats lie as other codes of 8 bits do. Whatever rows share a scale in the file, each has its own
// here: of a whole row or of so many groups, 1 where the file has none.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "base/target/target.h"
#include "graph/ir.h"
#include "kernel/builder.h"

namespace mlc::kernel {

struct WeightLayout {
  WeightFormat format;   // as kernels see it
  int64_t n = 0, k = 0;  // of the real matrix
  int tile_rows = 0;     // 0: "packed"
  WeightFormat file;     // of the records
  bool has_offsets() const { return file.has_offsets(); }
  int scale_bytes() const { return has_offsets() ? 4 : size_of(format.dtype); }
  int64_t groups() const { return format.groups(k); }
  // Groups that share a scale, and how many scales a row has; pairs stand for each group.
  int64_t groups_per_scale() const {
    if (has_offsets()) return 1;
    return file.group ? std::max<int64_t>(1, file.group / format.group) : std::max<int64_t>(1, groups());
  }
  int64_t scale_groups() const { return (groups() + groups_per_scale() - 1) / groups_per_scale(); }
  int64_t padded_rows() const { return tile_rows ? (n + tile_rows - 1) / tile_rows * tile_rows : n; }
  int64_t scale_offset() const { return padded_rows() * groups() * 16; }  // 4 words of 4 bytes
  // Codes are read in parts: words that hold some codes wholly.
  int words_per_part() const { return tile_rows && format.bits == 3 ? 2 : 1; }
  int parts() const { return 4 / words_per_part(); }
  int codes_per_part() const { return format.group / parts(); }
  int64_t bytes() const { return scale_offset() + padded_rows() * scale_groups() * scale_bytes(); }
};

// Internal error when the type is no group-quantized matrix or its layout is unknown.
WeightLayout weight_layout(const graph::TensorType& type);

// Some bits of a code: bits [shift, shift + bits) of a word.
struct CodePiece {
  int word = 0, shift = 0, bits = 0;
};
// Where code k (0 <= k < group) of a group lies, lowest bits first.
std::vector<CodePiece> code_pieces(const WeightLayout& layout, int k);
// Which k code i of a part is; in tile layouts codes 4t .. 4t + 3 of a part are one of the group's steps.
struct CodeIndex {
  int stride = 0, offset = 0;
  int at(int part) const { return stride * part + offset; }
  ExprRef at(const ExprRef& part) const { return part * stride + offset; }
};
CodeIndex code_index(const WeightLayout& layout, int i);

// Reads a weight in its physical buffer for `lanes` consecutive rows from `row` on (`row` a multiple of
// `lanes` and lanes <= tile_rows in a tile layout, unless `scattered`). Rows past n give codes and scales of
// unspecified value, but never read outside of the buffer.
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
  // What the code at the zero point stands for, as f32, one row each; nullptr where that is 0 for all.
  // `scales`: of the same rows.
  ExprRef offsets(ExprRef row, ExprRef group, int lanes, const ExprRef& scales) const;
  // Code k of a group's words [word], as u32 lanes; and, in a tile layout, the bytes of step s: u8 [4 *
  // lanes].
  ExprRef code(const std::vector<ExprRef>& words, int k) const { return masked(words, k, 1); }
  ExprRef step(const std::vector<ExprRef>& words, int s) const;
  // Codes or bytes as floats, less the zero point.
  ExprRef centered(const ExprRef& codes) const;

 private:
  ExprRef masked(const std::vector<ExprRef>& words, int k, int64_t repeat) const;
  ExprRef word_offset(ExprRef row, ExprRef group, ExprRef word) const;
  ExprRef scale_offset(ExprRef row, ExprRef group) const;
  ExprRef pair_half(const ExprRef& row, const ExprRef& group, int lanes, int half) const;
  ExprRef lanes_from(ExprRef row, int lanes, Type type, const std::function<ExprRef(ExprRef)>& offset) const;
};

// The kernel that makes the layout from the weight's records, in their order (format_records) -> u8.
Function lower_repack(const graph::TensorType& parameter, const Target& target);

}  // namespace mlc::kernel
