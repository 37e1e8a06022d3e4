// What a conversion will do, known in full before any weight is read: every tensor, shard, size and offset.
//
// parameters (frontend) + the checkpoint's tensors  ->  records in arrival order  ->  shards
// (formats/shards.h) The order, and the counts of the index's metadata, are those of the original
// (mlc-facts 2.2, 2.4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "formats/checkpoint.h"
#include "formats/quant/scheme.h"
#include "formats/shards.h"
#include "frontend/model.h"

namespace mlc::weights {

// Where a record lies: shards[shard].tensors[tensor] of the index.
struct RecordPlace {
  size_t shard = 0, tensor = 0;
};

// Rows [begin, begin + count) of a parameter.
struct RowRange {
  int64_t begin = 0, count = 0;
};

// One parameter, or the part of it that one tensor-parallel rank holds (weights/ranks.h).
struct ParameterPlan {
  frontend::Parameter parameter;
  WeightFormat format;
  DType dtype = DType::kF32;         // values are rounded to this before they are stored or packed
  std::vector<int64_t> shape;        // of this part
  int64_t rows = 0, row_size = 0;    // shape[0] and the product of the others
  int rank = -1;                     // -1: not split
  std::vector<RowRange> ranges;      // rows of the whole parameter that make up this part, in order
  int64_t column = 0;                // where this part begins in the whole parameter's rows
  int64_t whole_row_size = 0;        // row_size of the whole parameter
  std::vector<int> sources;          // indices into the checkpoint's tensors; empty without a checkpoint
  std::vector<int64_t> source_rows;  // of each source
  RecordPlace weight;                // the plain tensor, or the words of a group format
  RecordPlace scale;                 // group formats only
  bool raw_f32 = false;              // plain float32 stays float32 in the file
};

struct Plan {
  QuantScheme scheme;
  std::vector<ParameterPlan> parameters;  // in arrival order
  ShardIndex index;                       // complete but for md5
  int64_t source_elements = 0;            // as the original counts them, for bits_per_param
  int64_t peak_memory = 0;                // bytes, upper estimate for `threads` of make_plan
  std::vector<std::string> notes;         // on tensors that no parameter needs (weights/extra.h)

  const TensorRecord& record(RecordPlace place) const {
    return index.shards[place.shard].tensors[place.tensor];
  }
  int64_t output_bytes() const;
};

struct PlanOptions {
  int threads = 1;
  int ranks = 0;         // tensor-parallel ranks to split for; 0: not at all
  bool raw_f32 = false;  // store plain float32 as it is (format raw, 4 bytes), not as the original's bfloat16
  bool ignore_extra = false;  // say nothing of tensors that no parameter needs, even where that matters
};

// `checkpoint` may be nullptr: then tensors arrive in the order of one safetensors file, by name. `what`
// names the checkpoint in errors: missing or wrongly shaped tensors, extra ones that matter, packed weights,
// dtypes that are not floats.
Result<Plan> make_plan(const std::vector<frontend::Parameter>& parameters,
                       const std::vector<std::string>& unused, const QuantScheme& scheme,
                       const Checkpoint* checkpoint, const std::string& what,
                       const PlanOptions& options = {});

// For --plan: one line per tensor grouped by shard, then totals.
std::string plan_text(const Plan& plan);

// Elements of a parameter that one worker converts at once, and the bytes of its buffers for that.
constexpr int64_t kBlockElements = 1 << 18;
int64_t rows_per_block(int64_t row_size);

}  // namespace mlc::weights
