// GGUF vocabularies: one table of pre-tokenizer kinds and three vocabulary models.
#include "chat/tokenizer/gguf_tokenizer.h"

#include <unordered_set>

#include "base/strings.h"
#include "chat/end_tokens.h"

namespace mlc {
namespace {

enum TokenType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

// How a kind cuts text into words before merging. `patterns` apply one after the other, each isolating its
// matches in what the earlier ones left; `gpt2_words` ends with GPT-2's own pattern. Sources: the
// tokenizer.json of the named models.
struct PreTokenizer {
  std::vector<std::string> names;
  std::vector<std::string> patterns;
  bool gpt2_words = false;
  bool digits = false;         // every digit alone, before the patterns
  bool nfc = false;            // text is normalized to NFC first
  bool ignore_merges = false;  // a word that is a token is taken whole
};

// The tiktoken pattern of GPT-4's time; `digits` is how many digits go together.
std::string cl100k(const std::string& digits) {
  return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
}

// Words split where lower case turns to upper; `suffix` are English contractions that stay with their word.
std::string cased_words(const std::string& suffix, const std::string& digits) {
  const std::string upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
  return "[^\\r\\n\\p{L}\\p{N}]?" + upper + "*" + lower + "+" + suffix + "|[^\\r\\n\\p{L}\\p{N}]?" + upper +
         "+" + lower + "*" + suffix + "|" + digits +
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
}

// Letters with case, as deepseek-llm lists them (a subset of Unicode 14's).
constexpr const char kCasedLetters[] =
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}"
    "\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}"
    "\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}"
    "\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}"
    "\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}"
    "\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"
    "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}"
    "\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}"
    "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}"
    "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}"
    "\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}"
    "\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"
    "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}"
    "\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}"
    "\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}"
    "\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}";

const std::vector<PreTokenizer>& pre_tokenizers() {
  static const std::string kContraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
  static const std::vector<PreTokenizer> kTable = {
      {.names = {"default"},
       .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+",
                    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
                    "\\p{N}+", "[0-9][0-9][0-9]"}},
      {.names = {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v2-code",
                 "jina-v1-en", "roberta-bpe", "gigachat", "exaone4", "a.x-4.0", "mellum", "modern-bert",
                 "jais", "trillion"},
       .gpt2_words = true},
      {.names = {"mpt", "olmo"}, .gpt2_words = true, .nfc = true},
      {.names = {"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"},
       .gpt2_words = true,
       .digits = true},
      {.names = {"command-r"}, .gpt2_words = true, .digits = true, .nfc = true},
      {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       .patterns = {cl100k("\\p{N}{1,3}")},
       .ignore_merges = true},
      {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, .patterns = {cl100k("\\p{N}{1,3}")}},
      {.names = {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo"},
       .patterns = {cl100k("\\p{N}")},
       .nfc = true},
      {.names = {"qwen35"},
       .patterns = {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                    "?[^\\s\\p{L}\\p{M}\\p{N}]+"
                    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {.names = {"tekken"}, .patterns = {cased_words("", "\\p{N}")}, .ignore_merges = true},
      {.names = {"gpt-4o", "llama4"}, .patterns = {cased_words(kContraction, "\\p{N}{1,3}")}},
      {.names = {"deepseek-llm"},
       .patterns = {"[\r\n]", str("\\s?[", kCasedLetters, "]+"), "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
                    "[一-龥ࠀ-一가-퟿]+"},
       .digits = true},
      {.names = {"deepseek-coder"},
       .patterns = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+"},
       .digits = true},
      {.names = {"deepseek-v3", "hunyuan-dense"},
       .patterns = {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
                    "[!\"#$%&'()*+,\\-./"
                    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
      {.names = {"falcon"},
       .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+",
                    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
                    "[0-9][0-9][0-9]"}},
      {.names = {"poro-chat", "bloom", "gpt3-finnish"}, .patterns = {" ?[^(\\s|.,!?…。，、।۔،)]+"}},
      {.names = {"viking"}, .patterns = {" ?[^(\\s|.,!?…。，、।۔،)]+"}, .digits = true},
      {.names = {"bailingmoe"},
       .patterns = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
                    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+"
                    "(?!\\S)|\\s+"}},
      {.names = {"seed-coder"},
       .patterns = {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| "
                    "?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|"
                    "\\s+(?!\\S)|\\s+"}},
  };
  return kTable;
}

Json pre_tokenizer_json(const PreTokenizer& kind, bool add_prefix_space) {
  Json list = Json::array();
  auto split = [&](const std::string& pattern) {
    list.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  };
  Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  if (kind.digits && kind.patterns.empty()) list.push_back(digits);
  for (const std::string& pattern : kind.patterns) split(pattern);
  if (kind.digits && !kind.patterns.empty()) list.push_back(digits);
  list.push_back({{"type", "ByteLevel"},
                  {"add_prefix_space", add_prefix_space},
                  {"trim_offsets", true},
                  {"use_regex", kind.gpt2_words}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(list)}};
}

Status check_lists(const GgufVocabulary& source, const std::string& what) {
  size_t count = source.tokens.size();
  if (count == 0) return Status::error(str(what, ": tokenizer.ggml.tokens is empty or missing"));
  if (!source.types.empty() && source.types.size() != count)
    return Status::error(str(what, ": tokenizer.ggml.token_type has ", source.types.size(),
                             " entries, expected ", count, " (one per token); the file is damaged"));
  if (source.model != "gpt2" && source.scores.size() != count)
    return Status::error(str(what, ": tokenizer.ggml.scores has ", source.scores.size(),
                             " entries, expected ", count, " (one per token); the file is damaged"));
  std::unordered_set<std::string_view> seen;
  for (const std::string& token : source.tokens) {
    if (!is_valid_utf8(token))
      return Status::error(
          str(what, ": tokenizer.ggml.tokens has a token that is not UTF-8; the file is damaged"));
    if (!seen.insert(token).second)
      return Status::error(str(what, ": tokenizer.ggml.tokens has '", token, "' twice; the file is damaged"));
  }
  return Status::ok();
}

Result<const PreTokenizer*> find_pre_tokenizer(const std::string& name, const std::string& what) {
  for (const PreTokenizer& kind : pre_tokenizers())
    for (const std::string& known : kind.names)
      if (known == (name.empty() ? "default" : name)) return &kind;
  return Status::error(str(what, ": tokenizer.ggml.pre is '", name, "', which is not known",
                           did_you_mean(name, known_pre_tokenizers()),
                           "; put the tokenizer.json of the original model beside the file"));
}

Status add_byte_level(const GgufVocabulary& source, const std::string& what, TokenizerParts& parts) {
  RETURN_IF_ERROR(set_word_pieces(source.pre, /*add_prefix_space=*/false, what, parts));
  for (const std::string& merge : source.merges) {
    size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size())
      return Status::error(str(what, ": tokenizer.ggml.merges has '", merge, "', expected 'left right'"));
    parts.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return Status::ok();
}

void add_sentencepiece(const GgufVocabulary& source, TokenizerParts& parts) {
  std::string charsmap =
      source.precompiled_charsmap.empty() ? "" : encode_base64(source.precompiled_charsmap);
  parts.normalizer =
      sentencepiece_normalizer(source.add_space_prefix, source.remove_extra_whitespaces, charsmap);
  parts.decoder = sentencepiece_decoder(source.add_space_prefix);
  std::vector<std::pair<std::string, double>> mergeable;
  for (size_t id = 0; id < source.tokens.size(); ++id) {
    int32_t type = source.types.empty() ? 1 : source.types[id];
    parts.byte_fallback |= source.tokens[id] == "<0x0A>";
    if (source.model == "t5")
      parts.scored_vocab.emplace_back(source.tokens[id], source.scores[id]);
    else if (type == 1 || type == kUserDefined)
      mergeable.emplace_back(source.tokens[id], source.scores[id]);
  }
  if (source.model == "llama") parts.merges = merges_from_scores(mergeable);
  size_t unknown = static_cast<size_t>(source.unknown_token_id);
  if (source.unknown_token_id >= 0 && unknown < source.tokens.size()) {
    parts.unknown = source.tokens[unknown];
    parts.unknown_id = source.unknown_token_id;
  }
}

}  // namespace

Status set_word_pieces(const std::string& name, bool add_prefix_space, const std::string& what,
                       TokenizerParts& parts) {
  ASSIGN_OR_RETURN(const PreTokenizer* kind, find_pre_tokenizer(name, what));
  parts.pre_tokenizer = pre_tokenizer_json(*kind, add_prefix_space);
  parts.ignore_merges = kind->ignore_merges;
  if (kind->nfc) parts.normalizer = {{"type", "NFC"}};
  parts.decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  return Status::ok();
}

std::vector<std::string> known_pre_tokenizers() {
  std::vector<std::string> names;
  for (const PreTokenizer& kind : pre_tokenizers())
    names.insert(names.end(), kind.names.begin(), kind.names.end());
  return names;
}

Result<std::string> tokenizer_json_from_gguf(const GgufVocabulary& source, const std::string& what) {
  if (source.model != "gpt2" && source.model != "llama" && source.model != "t5")
    return Status::error(
        str(what, ": tokenizer.ggml.model is '", source.model,
            "', expected gpt2, llama or t5; put the tokenizer.json of the original model beside the file"));
  RETURN_IF_ERROR(check_lists(source, what));
  TokenizerParts parts;
  if (source.model == "gpt2") {
    RETURN_IF_ERROR(add_byte_level(source, what, parts));
  } else {
    add_sentencepiece(source, parts);
  }
  for (size_t id = 0; id < source.tokens.size(); ++id) {
    int32_t type = source.types.empty() ? 1 : source.types[id];
    // Converters have written end tokens as ordinary ones; llama.cpp reads them as control tokens too.
    if (type == kNormal && is_end_token_text(source.tokens[id])) type = kControl;
    if (source.model != "t5") parts.vocab.emplace_back(source.tokens[id], static_cast<int32_t>(id));
    if (type == kUnknown || type == kControl || type == kUserDefined)
      parts.added.push_back({static_cast<int32_t>(id), source.tokens[id], type != kUserDefined});
  }
  return write_tokenizer_json(parts);
}

}  // namespace mlc
