// Conversations to calibrate with: ShareGPT's JSON, a list of {"conversations": [{"value": text}, ...]}.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "chat/template/chat_template.h"
#include "chat/tokenizer/tokenizer.h"
#include "weights/quantize/stream.h"

namespace mlc::weights {

struct DatasetOptions {
  int64_t samples = 16;
  uint64_t seed = 0;
  int64_t context = 0;  // tokens of the longest window; what is longer is cut
  int64_t vocab = 0;
};

// The first two turns of `samples` conversations, drawn without repetition by the seed: a question in the
// model's template and its answer, each conversation a window. Only questions of 4 to 1024 tokens with
// answers of at least 4, together at most 2048, count (mlc-facts 1.13). Errors name --dataset.
Result<Windows> dataset_windows(const std::string& file, const Tokenizer& tokenizer,
                                const ChatTemplate& chat_template, const DatasetOptions& options);

}  // namespace mlc::weights
