// Weights whose codes come ready in the checkpoint: each of their records is copied from tensors of its name.
#pragma once

#include <vector>

#include "base/status.h"
#include "formats/quant/format.h"
#include "formats/quant/scheme.h"
#include "frontend/model.h"
#include "weights/source.h"

namespace mlc::weights {

// Refuses a scheme that packs weights for a source whose weights are packed already, and one that takes
// packed weights for one that has plain ones, as its config.json says.
Status check_quantization(const ModelSource& source, const QuantScheme& scheme);

// `parameter`, stored in an imported format, as one parameter for each record; its sources' "Y.weight" become
// "Y.qweight" and so on. An error where its expression takes more than whole modules side by side.
Result<std::vector<frontend::Parameter>> split_records(const frontend::Parameter& parameter,
                                                       const WeightFormat& format);

}  // namespace mlc::weights
