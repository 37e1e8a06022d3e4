// Weights of a checkpoint that another program quantized: each is found by the tensors that it is made of,
// and read as a tensor of floats under the name that a plain checkpoint has for it (Checkpoint::add_packed).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "formats/packing.h"
#include "formats/quant/reader.h"

namespace mlc {

class Checkpoint;

struct PackedWeight {
  std::string name;            // "X.weight"
  std::vector<int64_t> shape;  // [n, k], or of several stacked [count, n, k]
  WeightFormat format;
  std::vector<int> parts;  // tensors of the checkpoint, in the order of format_records()
  // Their bytes, views into the mapped files or into `owned`; behind them what WeightReader takes beside.
  std::vector<std::span<const std::byte>> bytes;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> owned;

  int64_t count() const { return shape.size() == 3 ? shape[0] : 1; }
  int64_t n() const { return shape[shape.size() - 2]; }
  int64_t k() const { return shape.back(); }
  // Of stacked ones number `i`. A view of this weight's bytes.
  WeightReader reader(int64_t i = 0) const;
};

// All weights that `packing` tells of and the checkpoint holds. Errors name file and tensor: parts that are
// missing or of other sizes, an order of inputs without its index.
Result<std::vector<PackedWeight>> find_packed(const Checkpoint& checkpoint, const Packing& packing);

}  // namespace mlc
