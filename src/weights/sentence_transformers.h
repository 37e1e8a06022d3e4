// How a folder of sentence-transformers makes embeddings of hidden states.
//
// modules.json: [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, ...], a pipeline of
// folders. The pooling's config.json: {"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false,
// ...}; a Normalize module scales the result to length 1.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace mlc::weights {

// Whether a folder says that its model gives embeddings: modules.json has a pooling.
bool is_sentence_transformer(const std::string& folder);

// The `embedding_metadata` of mlc-chat-config.json (mlc-facts 4.1): {"model_type", "pooling_strategy",
// "normalize"}. Where the folder says nothing, encoders take the first token, decoders the last, and
// normalize. Errors: a pooling that is neither of the first token, the mean nor the last one; modules that
// are not built.
Result<Json> embedding_metadata(const std::string& folder, bool encoder);

}  // namespace mlc::weights
