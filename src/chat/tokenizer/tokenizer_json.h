// Writes tokenizer.json texts (the Hugging Face format) from other forms of the same tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace mlc {

struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = true;
};

// The parts of a tokenizer.json that differ between families. Vocabularies are lists of (text, id): a JSON object of
// them would be searched linearly for each key.
struct TokenizerParts {
  std::vector<std::pair<std::string, int32_t>> vocab;         // BPE: text and id
  std::vector<std::pair<std::string, double>> scored_vocab;   // Unigram instead: text and log probability, ids in order
  std::vector<std::pair<std::string, std::string>> merges;    // BPE, best first
  std::vector<AddedToken> added;
  Json normalizer, pre_tokenizer, decoder;                    // null where absent
  std::string unknown;                                        // text of the unknown token, "" for none
  int32_t unknown_id = 0;                                     // Unigram's unk_id
  bool byte_fallback = false;                                 // unknown characters become <0xNN> tokens
  bool ignore_merges = false;                                 // a word that is a token is taken whole
};
std::string write_tokenizer_json(const TokenizerParts& parts);

// The merges that a scored vocabulary implies: every split of a token into two tokens, best score first, ties by length
// of the left and then the right part (longest first), as transformers' converters order them.
std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const std::vector<std::pair<std::string, double>>& scored);

// Normalizer and decoder of SentencePiece models: a space is U+2581, and `prefix_space` puts one in front of the text.
// `charsmap_base64` is a precompiled character map ("" for none); `collapse_spaces` trims and joins runs of spaces.
Json sentencepiece_normalizer(bool prefix_space, bool collapse_spaces, const std::string& charsmap_base64);
Json sentencepiece_decoder(bool prefix_space);

// GPT-2's form: vocab.json {text: id}, merges.txt ("left right" per line), added_tokens.json {text: id} or "".
Result<std::string> tokenizer_json_from_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                                         std::string_view added_json, const std::string& what);

// tiktoken's form: one "base64 rank" per line. `special` are the model's special tokens; `split_regex` is the model's own
// word pattern, "" for GPT-2's.
Result<std::string> tokenizer_json_from_tiktoken(std::string_view text, const std::vector<AddedToken>& special,
                                                 const std::string& split_regex, const std::string& what);

// Standard base64 with padding.
Result<std::string> decode_base64(std::string_view text, const std::string& what);
std::string encode_base64(std::string_view bytes);

}  // namespace mlc
