// A tokenizer is the union of its files: one function reads them for converting, chatting and every other
// user.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/tokenizer/families.h"
#include "chat/tokenizer/special_tokens.h"
#include "chat/tokenizer/tokenizer.h"

namespace mlc {

struct FolderTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string json;  // all of it as one tokenizer.json: the folder's own bytes where these say everything; ""
                     // for RWKV
  std::string file;  // the vocabulary that was read
  std::vector<std::string> notes;  // one sentence each
};

// The vocabulary is the first usable of: tokenizer.json; tokenizer.model (SentencePiece, or tiktoken's text);
// vocab.json + merges.txt; tokenizer_model (RWKV); *.tiktoken. Added and special tokens come on top from the
// side files (special_tokens.h), the family's rules where the files are silent (families.h). A broken
// vocabulary beside a whole one is noted. `info` overrides what is detected (the `tokenizer_info` of
// mlc-chat-config.json). Errors name the file.
Result<FolderTokenizer> read_folder_tokenizer(const std::string& folder,
                                              std::optional<TokenizerInfo> info = std::nullopt);

// The special tokens that the side files of `folder` name, whatever its vocabulary.
Result<SpecialTokens> read_folder_special_tokens(const std::string& folder);

// Whether `folder` holds a file that may be a vocabulary.
bool has_tokenizer(const std::string& folder);

// The union of one vocabulary, given as the text of a tokenizer.json, and the side files' texts. `file` is
// where it came from and starts errors; `family` may be nullptr. `whole`: it is a tokenizer.json of the
// model's own, to which a family adds nothing.
Result<FolderTokenizer> unite_tokenizer(std::string json, const std::string& file,
                                        const TokenizerSideFiles& side, const TokenizerFamily* family,
                                        bool whole, std::optional<TokenizerInfo> info = std::nullopt);

}  // namespace mlc
