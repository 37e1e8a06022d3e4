// One block of a parameter: rows of source tensors in, stored bytes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/status.h"
#include "formats/checkpoint.h"
#include "weights/non_finite.h"
#include "weights/plan.h"

namespace mlc::weights {

// Rows [row_begin, row_end) of a parameter.
struct Block {
  size_t parameter = 0;  // index into Plan::parameters
  int64_t row_begin = 0, row_end = 0;
};

// A worker's buffers; kept between blocks.
struct BlockBuffers {
  std::vector<std::byte> source;       // what Checkpoint::read_rows unpacks
  std::vector<float> values;           // rows * row_size
  std::vector<std::byte> scale_bits;   // f32 scales before they become bfloat16
  std::vector<std::byte> weight;       // result: stored elements, or words [rows, words of a row]
  std::vector<std::byte> scale;        // result: stored scales [rows, groups]
  std::map<int, NonFinite> irregular;  // result: by tensor of the checkpoint
  Status status;                       // result: of the quantizer
};

// Chooses codes and scales otherwise than formats/quant/group.h does.
class RowQuantizer {
 public:
  virtual ~RowQuantizer() = default;
  // Rows row_begin .. row_begin + values.size() / row_size - 1 of a parameter, as quantize_row() packs them.
  // Any thread.
  virtual Status pack(const ParameterPlan& plan, int64_t row_begin, std::span<const float> values,
                      uint32_t* words, std::byte* scales) const = 0;
};

// Whether all groups of a parameter can be taken over from GGUF's Q4_0 or Q8_0 blocks, or from weights that
// another program packed, without unpacking them: nothing is lost. Reads their scales; ParameterPlan::exact
// has it.
bool is_exact(const ParameterPlan& plan, const Checkpoint& checkpoint);

// `quantizer` may be nullptr. Fills buffers.weight, buffers.scale (NK form even when the format is KN) and
// buffers.irregular. `largest`: of the whole parameter's magnitudes, where it has one scale
// (needs_largest()); its first block has that scale. A block of a format with scales of so many rows begins
// at a multiple of them.
void convert_block(const ParameterPlan& plan, const Checkpoint& checkpoint, const Block& block,
                   BlockBuffers& buffers, const RowQuantizer* quantizer = nullptr, float largest = 0);

// Whether the parameter's rows share a scale, and their largest finite magnitude: reads it all.
bool needs_largest(const ParameterPlan& plan);
float find_largest(const ParameterPlan& plan, const Checkpoint& checkpoint);

// Reads rows [row_begin, row_end) as f32 rounded to plan.dtype, into `values`; what is not finite is added to
// `irregular`.
void read_values(const ParameterPlan& plan, const Checkpoint& checkpoint, int64_t row_begin, int64_t row_end,
                 std::vector<std::byte>& scratch, std::vector<float>& values,
                 std::map<int, NonFinite>* irregular = nullptr);

}  // namespace mlc::weights
