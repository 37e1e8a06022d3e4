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
#include "formats/source_expr.h"
#include "frontend/model.h"

namespace mlc::weights {

// Where a record lies: shards[shard].tensors[tensor] of the index.
struct RecordPlace {
  size_t shard = 0, tensor = 0;
};

// One parameter, or the part of it that one tensor-parallel rank holds (weights/ranks.h).
struct ParameterPlan {
  frontend::Parameter parameter;
  WeightFormat format;
  DType dtype = DType::kF32;        // values are rounded to this before they are stored or packed
  std::vector<int64_t> shape;       // of this part
  int64_t rows = 0, row_size = 0;   // a row: the last axis of a shape that has several, else one element
  int64_t block_rows = 0;           // rows that one worker converts at once
  int rank = -1;                    // -1: not split
  SourceExpr source;                // of this part
  std::vector<SourceLeaf> leaves;   // of `source`; empty without a checkpoint, as are sources
  std::vector<int> sources;         // the checkpoint's tensors among them, each once
  std::vector<RecordPlace> places;  // of its records, in the order of format_records(): codes, then scales
  bool raw_f32 = false;             // plain float32 stays float32 in the file
  bool exact = false;               // codes are taken over from the checkpoint (is_exact)
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

}  // namespace mlc::weights
