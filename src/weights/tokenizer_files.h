// The tokenizer files of a checkpoint, as MLC's runtimes want them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "chat/tokenizer/tokenizer.h"
#include "weights/source.h"

namespace mlc::weights {

struct TokenizerFiles {
  struct Text {
    std::string name, text;
  };
  std::vector<Text> texts;         // every file to write
  std::vector<std::string> names;  // of the files, in MLC's order: `tokenizer_files`
  TokenizerInfo info;
  std::optional<int64_t> token_count;          // where tokenizer.json exists: tokens that exist
  std::string jinja_template;                  // the checkpoint's own chat template, "" for none
  SpecialTokens special;                       // bos_token and so on
  std::shared_ptr<const Tokenizer> tokenizer;  // nullptr where there is none, and for RWKV vocabularies
  std::vector<int32_t> stop_token_ids;         // the end tokens that the tokenizer's own files name
  std::vector<std::string> notes;              // for the user, one sentence each
};

// Reads tokenizer.model, tokenizer.json, vocab.json, merges.txt, added_tokens.json and tokenizer_config.json
// where they exist, and makes a tokenizer.json from a tokenizer.model, vocab.json with merges.txt, *.tiktoken
// or GGUF metadata, or a tokenizer_model from an RWKV vocabulary, where there is none. Tokens that only side
// files name join tokenizer.json, whose bytes otherwise stay. Writes nothing. Errors name the file.
Result<TokenizerFiles> read_tokenizer_files(const ModelSource& source);
// Whether the checkpoint has a tokenizer that can be used, without its weights. The error says what is
// missing or damaged.
Status check_tokenizer(const ModelSource& source);
// Writes them into `folder`, created.
Status write_tokenizer_files(const TokenizerFiles& files, const std::string& folder);

}  // namespace mlc::weights
