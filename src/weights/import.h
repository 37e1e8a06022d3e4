// Weights whose codes come ready in the checkpoint: what takes them as they are, and what is said of the
// others. In a scheme that is imported each record is copied from tensors of its name.
#pragma once

#include <vector>

#include "base/status.h"
#include "formats/quant/format.h"
#include "formats/quant/scheme.h"
#include "frontend/model.h"
#include "weights/plan.h"
#include "weights/source.h"

namespace mlc::weights {

// Refuses a scheme that takes packed weights for a source that has plain ones, or codes that it cannot hold,
// as its config.json says.
Status check_quantization(const ModelSource& source, const QuantScheme& scheme);

// `parameter`, stored in an imported format, as one parameter for each record; its sources' "Y.weight" become
// "Y.qweight" and so on. An error where its expression takes more than whole modules side by side.
Result<std::vector<frontend::Parameter>> split_records(const frontend::Parameter& parameter,
                                                       const WeightFormat& format);

// Adds to the plan's notes how many packed weights keep their codes, and how many are rounded again.
void note_packed(Plan& plan, const Checkpoint& checkpoint);

}  // namespace mlc::weights
