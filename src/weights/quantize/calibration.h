// The text that calibration runs a model over: one that ships in the tool, or a user's.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "chat/tokenizer/tokenizer.h"
#include "weights/quantize/stream.h"
#include "weights/source.h"

namespace mlc::weights {

constexpr int64_t kCalibrationWindow = 512;  // tokens of a window, in models that take as many
constexpr int64_t kCalibrationWindows = 24;  // at most
constexpr int64_t kLeastCalibration = 256;   // tokens; the built-in text has some 12,000

// The tokenizer of a model that is to be converted.
Result<std::shared_ptr<const Tokenizer>> source_tokenizer(const ModelSource& source);

// Windows of the built-in text ("") or of a file. Of a file that has more than kCalibrationWindows, as many
// that lie evenly over it. Errors name --calibration: no tokenizer, too few tokens, tokens that the model
// does not have.
Result<Windows> calibration_windows(const ModelSource& source, const std::string& file);

}  // namespace mlc::weights
