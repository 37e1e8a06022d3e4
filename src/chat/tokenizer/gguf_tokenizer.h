// The tokenizer inside a GGUF file's metadata turned into a tokenizer.json text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {

// The metadata keys `tokenizer.ggml.*`; filled by whoever read the file.
struct GgufVocabulary {
  std::string model;  // "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "t5" (unigram)
  std::string pre;    // pre-tokenizer kind of "gpt2" models: "smollm", "llama-bpe", "qwen2", ...
  std::vector<std::string> tokens;
  std::vector<std::string> merges;  // "left right", of "gpt2" models
  std::vector<float> scores;        // of "llama" and "t5" models, one per token
  std::vector<int32_t> types;  // 1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte; empty: all normal
  int32_t unknown_token_id = 0;
  bool add_space_prefix = true;  // of "llama" and "t5" models
  bool remove_extra_whitespaces = false;
  std::string precompiled_charsmap;  // raw bytes, of "t5" models
};

// Ids are the positions in `tokens`. Errors start with `what` and name the key: lists of different lengths,
// duplicate tokens, a merge without a space, an unknown model or `pre` (with the nearest known one).
Result<std::string> tokenizer_json_from_gguf(const GgufVocabulary& source, const std::string& what);

// Sets the pre-tokenizer, normalizer, decoder and merge rule of a byte-level vocabulary of the kind `name`
// (as tokenizer.ggml.pre has it). Errors start with `what`.
Status set_word_pieces(const std::string& name, bool add_prefix_space, const std::string& what,
                       TokenizerParts& parts);

// Names that `tokenizer.ggml.pre` may have.
std::vector<std::string> known_pre_tokenizers();

}  // namespace mlc
