// convert_weight --verify: compiles the converted model and its source, and compares them.
#pragma once

#include <string>

#include "base/status.h"
#include "weights/plan.h"
#include "weights/source.h"
#include "weights/verify_report.h"

namespace mlc::cli {

// The report of the weights in `folder`, converted from `source` in `scheme`; also written there. The source
// runs in its own precision from a temporary folder under MLC_TEMP_DIR (4 bytes a parameter at most), removed
// at the end.
Result<weights::VerifyReport> verify(const weights::ModelSource& source, const QuantScheme& scheme,
                                     const std::string& folder, int threads);

}  // namespace mlc::cli
