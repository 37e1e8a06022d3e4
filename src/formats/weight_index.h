// The index of a checkpoint in several files: model.safetensors.index.json and pytorch_model.bin.index.json.
//
// Layout: {"metadata": {...}?, "weight_map": {TENSOR: FILE, ...}}; FILE is a plain name of a file beside the
// index; of a tensor or a weight_map that stands twice the last counts, as in Python. Refused: any other
// form, a FILE with a path in it ('/', '\', "..", NUL: an index may not reach outside its folder), more than
// 2^20 tensors or 2^14 files.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace mlc {

struct WeightIndex {
  std::vector<std::string> files;  // in order of first appearance
  std::vector<std::pair<std::string, int>>
      tensors;  // name and index into files: weight_map order, grouped by file
};

Result<WeightIndex> parse_weight_index(std::string_view text, const std::string& what);

}  // namespace mlc
