// The side files of a tokenizer over a tiny vocabulary: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json and the vocabulary's own list, in this order, separated by the byte 1E. What is read is
// written and read again.
#include "base/strings.h"
#include "chat/tokenizer/folder.h"
#include "fuzz.h"

namespace {

constexpr std::string_view kBefore = R"({"version":"1.0","added_tokens":)";
constexpr std::string_view kAfter =
    R"(,"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"BPE","vocab":)"
    R"({"a":0,"b":1,"ab":2,"<s>":3},"merges":["a b"]}})";

std::vector<std::string> texts_of(const mlc::Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    texts.push_back(mlc::str(static_cast<int>(tokenizer.token_kind(id)), tokenizer.token_text(id)));
  return texts;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  std::vector<std::string> parts = split(std::string(fuzz::text_of(data, size)), '\x1e');
  parts.resize(4);
  std::string list = parts[3].empty() ? "[]" : parts[3];
  TokenizerSideFiles side{fuzz::kFile, parts[0], parts[1], parts[2]};
  const TokenizerFamily* family = find_tokenizer_family(size % 2 ? "Qwen2Tokenizer" : "", "");
  auto read = unite_tokenizer(str(kBefore, list, kAfter), fuzz::kFile, side, family, /*whole=*/size % 3 == 0);
  fuzz::check_status(read.status());
  if (!read.is_ok()) return 0;
  for (const std::string& note : read->notes) fuzz::check_message(note);
  (void)read->tokenizer->encode("ab<s> a").is_ok();
  (void)read->tokenizer->special().variables().dump();
  auto again = Tokenizer::from_json(read->json, fuzz::kFile);
  internal_check(again.is_ok(), "what was united can be read");
  internal_check(texts_of(**again) == texts_of(*read->tokenizer), "and holds the same tokens");
  return 0;
}
