// What convert_weight --verify and `mlc_llm verify` share.
#pragma once

#include <string>

#include "base/status.h"
#include "weights/plan.h"
#include "weights/source.h"
#include "weights/verify_report.h"

namespace mlc::cli {

// The report of the weights in `folder`, converted from `source` in `scheme`; it is written there with its
// picture.
Result<weights::VerifyReport> verify(const weights::ModelSource& source, const QuantScheme& scheme,
                                     const std::string& folder, int threads);

}  // namespace mlc::cli
