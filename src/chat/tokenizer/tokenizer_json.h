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
  bool special = true;                  // steers the model; left out of answers
  bool lstrip = false, rstrip = false;  // takes the white space before or after it
  bool single_word = false;             // not found inside a word
  bool normalized = false;              // looked for in normalized text
  bool operator==(const AddedToken&) const = default;
};

// The tokens as the `added_tokens` of a tokenizer.json writes them.
std::string added_tokens_json(const std::vector<AddedToken>& tokens);

// Text of a file in a message: in single quotes, ASCII, at most 60 characters.
std::string shown(std::string_view text);

// The parts of a tokenizer.json that differ between families. Vocabularies are lists of (text, id): a JSON
// object of them would be searched linearly for each key.
struct TokenizerParts {
  std::vector<std::pair<std::string, int32_t>> vocab;  // BPE: text and id
  std::vector<std::pair<std::string, double>>
      scored_vocab;  // Unigram instead: text and log probability, ids in order
  std::vector<std::pair<std::string, std::string>> merges;  // BPE, best first
  std::vector<AddedToken> added;
  Json normalizer, pre_tokenizer, decoder;  // null where absent
  std::string unknown;                      // text of the unknown token, "" for none
  int32_t unknown_id = 0;                   // Unigram's unk_id
  bool byte_fallback = false;               // unknown characters become <0xNN> tokens
  bool ignore_merges = false;               // a word that is a token is taken whole
};
std::string write_tokenizer_json(const TokenizerParts& parts);

// The merges that a scored vocabulary implies: every split of a token into two tokens, best score first, ties
// by length of the left and then the right part (longest first), as transformers' converters order them.
std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const std::vector<std::pair<std::string, double>>& scored);

// Normalizer and decoder of SentencePiece models: a space is U+2581, and `prefix_space` puts one in front of
// the text. `charsmap_base64` is a precompiled character map ("" for none); `collapse_spaces` trims and joins
// runs of spaces.
Json sentencepiece_normalizer(bool prefix_space, bool collapse_spaces, const std::string& charsmap_base64);
Json sentencepiece_decoder(bool prefix_space);

// vocab.json {text: id} in id order, and merges.txt ("left right" per line). Errors start with `what`.
Result<std::vector<std::pair<std::string, int32_t>>> read_vocab(std::string_view json,
                                                                const std::string& what);
Result<std::vector<std::pair<std::string, std::string>>> read_merges(std::string_view text,
                                                                     const std::string& what);

// tiktoken's form: one "base64 rank" per line. `special` are the model's special tokens; `split_regex` is the
// model's own word pattern, "" for GPT-2's.
Result<std::string> tokenizer_json_from_tiktoken(std::string_view text,
                                                 const std::vector<AddedToken>& special,
                                                 const std::string& split_regex, const std::string& what);

// Standard base64 with padding.
Result<std::string> decode_base64(std::string_view text, const std::string& what);
std::string encode_base64(std::string_view bytes);

}  // namespace mlc
