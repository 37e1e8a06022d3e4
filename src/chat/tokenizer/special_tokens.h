// The special and added tokens that a model's side files name beside its vocabulary, read as
// transformers 5.24.0 reads them: tokenizer_config.json, special_tokens_map.json and added_tokens.json.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {

// Texts of the side files of one folder, "" where absent. `folder` and the file's name start messages.
struct TokenizerSideFiles {
  std::string folder, tokenizer_config, special_tokens_map, added_tokens;
};

struct SpecialTokens {
  // bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token in this order, then further
  // *_token keys.
  std::vector<std::pair<std::string, AddedToken>> named;
  std::vector<AddedToken>
      extra;  // additional_special_tokens, which transformers 5 calls extra_special_tokens

  // The text of a named token, "" where there is none.
  std::string text(std::string_view name) const;
  // Replaces the token of that name, or adds it in its place.
  void set(const std::string& name, AddedToken token);
  // What transformers passes to chat templates: each named token's text, and the list
  // additional_special_tokens.
  Json variables() const;
  // {"bos_token_id": id, ...} of the named tokens, for those whose ids are known to be right.
  Json ids() const;
};

// Everything the side files say.
struct TokenSettings {
  SpecialTokens special;
  std::vector<AddedToken>
      listed;  // by id: added_tokens_decoder, else added_tokens.json and the vocabulary's own
  Json config = Json::object();     // tokenizer_config.json
  std::vector<std::string> silent;  // named tokens that the config sets to null
  bool has_extra = false;           // a file has a list of extra tokens, be it an empty one
  bool plain_special =
      false;  // named and extra tokens take no white space, whatever flags they are listed with
  std::vector<std::string> notes;  // one sentence each
};

// `present`: the added tokens of the vocabulary's own file. Where added_tokens_decoder is given the two other
// files are not read; else special_tokens_map.json wins over tokenizer_config.json. Errors: a file that is
// read and is no JSON object, a token that is neither text nor an object with `content`, an id that is no
// number, a flag that is no bool.
Result<TokenSettings> read_token_settings(const TokenizerSideFiles& files,
                                          const std::vector<AddedToken>& present);

// What is added to the vocabulary, in this order: the listed tokens, then named and extra ones that are in
// neither list. A listed token that is named becomes special. What `present` has with the same flags is left
// out.
std::vector<AddedToken> tokens_to_add(const TokenSettings& settings, const std::vector<AddedToken>& present);

// The `added_tokens` of a tokenizer.json (`list`, null for none); `what` starts errors.
Result<std::vector<AddedToken>> read_added_tokens(const Json* list, const std::string& what);

}  // namespace mlc
