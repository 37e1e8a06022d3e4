// What ends an answer, and why.
#include "chat/end_tokens.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

// A vocabulary whose tokens are the given texts, by id; `special` of them are special.
std::shared_ptr<const Tokenizer> vocabulary(const std::vector<std::string>& texts,
                                            const std::vector<std::string>& special) {
  TokenizerParts parts;
  for (const std::string& text : texts) {
    int32_t id = static_cast<int32_t>(parts.vocab.size());
    parts.vocab.emplace_back(text, id);
    if (std::find(special.begin(), special.end(), text) != special.end()) parts.added.push_back({id, text});
  }
  return Tokenizer::from_json(write_tokenizer_json(parts), "t").value();
}

ChatTemplate jinja(const std::string& source, std::vector<int32_t> stop = {},
                   Json variables = Json::object()) {
  Conversation c;
  c.seps = {"\n"};
  c.jinja_template = source;
  c.template_variables = std::move(variables);
  c.stop_token_ids = std::move(stop);
  return ChatTemplate::create(c, "t").value();
}

// "id reason; reason, id reason"
std::string shown(const std::vector<EndToken>& tokens) {
  std::vector<std::string> all;
  for (const EndToken& token : tokens) all.push_back(str(token.id, " ", join(token.reasons, "; ")));
  return join(all, ", ");
}

const std::vector<std::string> kTexts = {"a",    "b",       "#", "<|im_start|>", "<|im_end|>", "<stop>",
                                         "</s>", "<|end|>", "\n"};
const std::string kPlain = "{% for m in messages %}{{ m.content }}{% endfor %}";
const std::string kChatml = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}";
const char* const kMarker = "the chat template puts it after an answer";
const char* const kConfig = "eos_token_id of mlc-chat-config.json";
const char* const kKnown = "a known end token by its text";

TEST(EndTokens, ADefaultIdCountsOnlyByName) {
  auto plain = vocabulary(kTexts, {});
  EXPECT_EQ(shown(end_tokens({{"eos_token_id", 2}}, jinja(kPlain), *plain)), "");
  EXPECT_EQ(shown(end_tokens({{"eos_token_id", 1}}, jinja(kPlain), *plain)), str("1 ", kConfig));
  EXPECT_EQ(shown(end_tokens({{"eos_token_id", {2, 5}}}, jinja(kPlain), *plain)),
            str("2 ", kConfig, ", 5 ", kConfig));
  EXPECT_EQ(shown(end_tokens({{"eos_token_id", 2}}, jinja(kPlain, {2}), *plain)),
            "2 stop_token_ids of the conversation template");
  EXPECT_EQ(shown(end_tokens({{"eos_token_id", 2}}, jinja(kPlain), *vocabulary({"a", "b", "</s>"}, {}))),
            str("2 ", kConfig));
}

TEST(EndTokens, TheTemplatesOwnMarker) {
  auto tokens = vocabulary(kTexts, {"<|im_start|>", "<stop>"});
  EXPECT_EQ(
      shown(end_tokens({}, jinja("{% for m in messages %}{{ m.content }}\n<stop>{% endfor %}"), *tokens)),
      str("5 ", kMarker));
  // The last message is left open: the marker stands behind the others.
  EXPECT_EQ(
      shown(end_tokens(
          {},
          jinja("{% for m in messages %}{{ m.content }}{% if not loop.last %}<stop>{% endif %}{% endfor %}"),
          *tokens)),
      str("5 ", kMarker));
  // A model whose content is a list of parts.
  EXPECT_EQ(shown(end_tokens({}, jinja("{% for m in messages %}{{ m.content[0].text }}<stop>{% endfor %}"),
                             *tokens)),
            str("5 ", kMarker));
  EXPECT_EQ(shown(end_tokens({},
                             jinja("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", {},
                                   {{"eos_token", "<stop>"}}),
                             *tokens)),
            str("5 eos_token of the tokenizer; ", kMarker));
  EXPECT_EQ(shown(end_tokens({}, jinja(kPlain), *tokens)), "");
  EXPECT_EQ(shown(end_tokens({}, jinja("{{ raise_exception('no') }}"), *tokens)), "");
  EXPECT_EQ(shown(end_tokens({}, jinja("{{ messages[0].content }}"), *tokens)), "");
}

TEST(EndTokens, KnownTexts) {
  EXPECT_EQ(
      shown(end_tokens({}, jinja(kChatml), *vocabulary(kTexts, {"<|im_start|>", "<|im_end|>", "<|end|>"}))),
      str("4 ", kMarker, "; ", kKnown, ", 7 ", kKnown));
  EXPECT_EQ(shown(end_tokens({}, jinja(kPlain), *vocabulary(kTexts, {}))),
            "");  // ordinary text is not control
  // In gpt-oss's vocabulary <|end|> closes a channel.
  auto channels = vocabulary({"<|end|>", "<|return|>", "<|call|>"}, {"<|end|>", "<|return|>", "<|call|>"});
  std::string open = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}";
  EXPECT_EQ(shown(end_tokens({}, jinja(open), *channels)), str("1 ", kKnown, ", 2 ", kKnown));
}

TEST(EndTokens, PresetsKeepTheirOwn) {
  Conversation c = find_preset("chatml").value();
  auto tokens = vocabulary(kTexts, {"<|im_start|>", "<|im_end|>"});
  std::string all = shown(end_tokens({{"eos_token_id", 2}}, ChatTemplate::create(c, "t").value(), *tokens));
  EXPECT_NE(all.find(str("4 ", kMarker, "; ", kKnown)), std::string::npos) << all;
  for (int32_t id : c.stop_token_ids)
    EXPECT_NE(all.find(str(id, " stop_token_ids")), std::string::npos) << all;
}

}  // namespace
}  // namespace mlc
