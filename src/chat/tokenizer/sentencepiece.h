// SentencePiece model files (tokenizer.model) turned into tokenizer.json texts.
//
// The file is one protobuf message; the fields read (number, type) are
//   ModelProto:     1 pieces (message, repeated), 2 trainer_spec (message), 3 normalizer_spec (message)
//   pieces:         1 piece (string), 2 score (float), 3 type (1 normal, 2 unknown, 3 control, 4 user, 5
//   unused, 6 byte) trainer_spec:   3 model_type (1 unigram, 2 bpe, 3 word, 4 char), 35 byte_fallback (bool),
//   40 to 42 unk_id, bos_id and
//                   eos_id (ints, default 0, 1, 2)
//   normalizer_spec: 2 precompiled_charsmap (bytes), 3 add_dummy_prefix, 4 remove_extra_whitespaces (bools,
//   default true)
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

// The pieces that a model begins and ends with, and the one for unknown text; "" where it has none.
struct SentencePieceNames {
  std::string bos, eos, unknown;
};

// BPE and unigram models; BPE merges, which the file lacks, come from the scores. Ids are those of
// SentencePiece, except that control tokens inside the text are recognised, as Hugging Face does.
// `prefix_start_only`: the space that the model puts in front of words goes to the start of a text only, not
// behind each added token too. `names` may be nullptr. Errors start with `what`.
Result<std::string> tokenizer_json_from_sentencepiece(std::string_view model, const std::string& what,
                                                      bool prefix_start_only = false,
                                                      SentencePieceNames* names = nullptr);

}  // namespace mlc
