// Weights whose codes come ready in the checkpoint: each of their records is copied from tensors of its name.
#pragma once

#include <vector>

#include "base/status.h"
#include "formats/quant/format.h"
#include "frontend/model.h"

namespace mlc::weights {

// `parameter`, stored in an imported format, as one parameter for each record; its sources' "Y.weight" become
// "Y.qweight" and so on. An error where its expression takes more than whole modules side by side.
Result<std::vector<frontend::Parameter>> split_records(const frontend::Parameter& parameter,
                                                       const WeightFormat& format);

}  // namespace mlc::weights
