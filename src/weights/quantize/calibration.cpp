// Cuts calibration texts into windows.
#include "weights/quantize/calibration.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "weights/tokenizer_files.h"

namespace mlc::weights {
namespace {

// Stories of 1892 and 1894, whose copyright has ended, and texts, dialogues, documentation and code of our
// own: each about a window long. Those of the first pass, which reads the first windows alone, are of every
// kind.
constexpr const char* kTexts[] = {
#include "weights/quantize/calibration_text.inc"
};

int64_t window_length(const frontend::ModelConfig& config) {
  int64_t length = kCalibrationWindow;
  if (const int64_t context = config.get_int("context_window_size"); context > 0)
    length = std::min(length, context);
  if (config.sliding_window_size > 0) length = std::min(length, config.sliding_window_size);
  return length;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> source_tokenizer(const ModelSource& source) {
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::create());
  ASSIGN_OR_RETURN(const TokenizerFiles files, read_tokenizer_files(source));
  RETURN_IF_ERROR(write_tokenizer_files(files, temp.path()));
  return Tokenizer::load(temp.path());
}

Result<Windows> calibration_windows(const ModelSource& source, const std::string& file) {
  std::vector<std::string> texts(std::begin(kTexts), std::end(kTexts));
  if (!file.empty()) {
    auto text = read_file(file);
    if (!text.is_ok()) return Status::error("--calibration: " + text.status().message());
    texts = {std::move(text).value()};
  }
  auto tokenizer = source_tokenizer(source);
  if (!tokenizer.is_ok())
    return Status::error("--quantizer: calibration needs the model's tokenizer: " +
                         tokenizer.status().message());
  const int64_t length = window_length(source.config), vocab = frontend::model_shape(source.config).vocab;
  std::vector<std::vector<int32_t>> pieces;
  int64_t total = 0;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, (*tokenizer)->encode(text));
    for (int32_t token : tokens)
      if (token < 0 || token >= vocab)
        return Status::error(str("--quantizer: the tokenizer gives token ", token, ", the model has ", vocab,
                                 "; do they belong together?"));
    total += static_cast<int64_t>(tokens.size());
    for (int64_t begin = 0; begin < static_cast<int64_t>(tokens.size()); begin += length)
      pieces.emplace_back(
          tokens.begin() + begin,
          tokens.begin() + std::min<int64_t>(begin + length, static_cast<int64_t>(tokens.size())));
  }
  if (total < kLeastCalibration)
    return Status::error(str("--calibration: ", file, " has ", total, " tokens, expected at least ",
                             kLeastCalibration, "; give a longer text, or none for the built-in one"));
  const size_t count = std::min(pieces.size(), static_cast<size_t>(kCalibrationWindows));
  Windows windows;
  for (size_t i = 0; i < count; ++i) {
    const std::vector<int32_t>& piece = pieces[i * pieces.size() / count];
    windows.tokens.insert(windows.tokens.end(), piece.begin(), piece.end());
    windows.begins.push_back(static_cast<int64_t>(windows.tokens.size()));
  }
  return windows;
}

}  // namespace mlc::weights
