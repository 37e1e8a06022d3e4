// The table of tokenizer classes, and vocabularies that leave their components to it.
#include "chat/tokenizer/families.h"

#include <algorithm>

#include "chat/tokenizer/gguf_tokenizer.h"

namespace mlc {
namespace {

using Special = std::vector<std::pair<std::string, std::string>>;

const std::vector<TokenizerFamily>& families() {
  static const Special kEndOfText = {
      {"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}};
  static const Special kQwen = {
      {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}};
  static const std::vector<TokenizerFamily> kTable = {
      {.classes = {"GPT2Tokenizer", "CodeGenTokenizer", "WhisperTokenizer"},
       .model_types = {"gpt2", "gpt_neo", "gptj", "phi", "starcoder2", "codegen", "opt"},
       .special = kEndOfText},
      {.classes = {"GPTNeoXTokenizer"},
       .model_types = {"gpt_neox", "olmo", "olmoe", "mpt", "rwkv", "xlstm", "falcon_mamba"},
       .nfc = true,
       .special = {{"bos_token", "<|endoftext|>"},
                   {"eos_token", "<|endoftext|>"},
                   {"unk_token", "<|endoftext|>"},
                   {"pad_token", "<|padding|>"}}},
      {.classes = {"RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"},
       .model_types = {"roberta", "bart"},
       .special = {{"bos_token", "<s>"},
                   {"eos_token", "</s>"},
                   {"sep_token", "</s>"},
                   {"cls_token", "<s>"},
                   {"unk_token", "<unk>"},
                   {"pad_token", "<pad>"},
                   {"mask_token", "<mask>"}}},
      {.classes = {"Qwen2Tokenizer"},
       .model_types = {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_audio", "qwen3", "qwen3_moe",
                       "qwen3_next", "qwen3_vl", "qwen3_vl_moe"},
       .words = "qwen2",
       .nfc = true,
       .plain_special = true,
       .special = kQwen},
      {.classes = {"Qwen3_5Tokenizer"},
       .model_types = {"qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text", "qwen4_exp"},
       .words = "qwen35",
       .nfc = true,
       .special = kQwen},
      {.classes = {"CohereTokenizer"},
       .model_types = {"cohere", "cohere2"},
       .words = "command-r",
       .nfc = true,
       .special = {{"bos_token", "<BOS_TOKEN>"},
                   {"eos_token", "<|END_OF_TURN_TOKEN|>"},
                   {"unk_token", "<UNK>"},
                   {"sep_token", "<SEP>"},
                   {"pad_token", "<PAD>"},
                   {"cls_token", "<CLS>"},
                   {"mask_token", "<MASK_TOKEN>"}}},
      {.classes = {"LlamaTokenizer", "CodeLlamaTokenizer"},
       .special = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}},
      {.classes = {"GemmaTokenizer"},
       .model_types = {"gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text"},
       .special = {{"bos_token", "<bos>"},
                   {"eos_token", "<eos>"},
                   {"unk_token", "<unk>"},
                   {"pad_token", "<pad>"},
                   {"mask_token", "<mask>"}}},
  };
  return kTable;
}

bool has(const std::vector<std::string_view>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string_view without_fast(std::string_view name) {
  return name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name;
}

}  // namespace

const TokenizerFamily* find_tokenizer_family(std::string_view tokenizer_class, std::string_view model_type) {
  static const std::vector<std::string_view> kTypeDecides = {"qwen2", "qwen3_5", "qwen3_5_moe",
                                                             "qwen3_5_moe_text", "qwen4_exp"};
  const TokenizerFamily *by_class = nullptr, *by_type = nullptr;
  for (const TokenizerFamily& family : families()) {
    if (has(family.classes, without_fast(tokenizer_class))) by_class = &family;
    if (has(family.model_types, model_type)) by_type = &family;
  }
  return by_type && (!by_class || has(kTypeDecides, model_type)) ? by_type : by_class;
}

bool prefixes_start_only(const Json& config, std::string_view model_type) {
  // The types whose models transformers reads by the SentencePiece file alone, for which a silent config
  // means every piece.
  static const std::vector<std::string_view> kByFile = {"mistral",   "mixtral",   "phi3",  "phimoe",
                                                        "internlm2", "internlm3", "jamba", "minicpm3",
                                                        "fuyu",      "nemotron"};
  if (find_bool(config, "add_prefix_space") == false) return false;
  if (std::optional<bool> legacy = find_bool(config, "legacy")) return !*legacy;
  bool llama = without_fast(find_string(config, "tokenizer_class").value_or("")) == "LlamaTokenizer";
  return llama && !has(kByFile, model_type);
}

Result<std::string> tokenizer_json_from_vocab_and_merges(std::string_view vocab_json,
                                                         std::string_view merges_txt,
                                                         const TokenizerFamily* family, bool add_prefix_space,
                                                         const std::string& what) {
  TokenizerParts parts;
  ASSIGN_OR_RETURN(parts.vocab, read_vocab(vocab_json, what));
  ASSIGN_OR_RETURN(parts.merges, read_merges(merges_txt, what));
  std::string words = family && !family->words.empty() ? std::string(family->words) : "gpt-2";
  RETURN_IF_ERROR(set_word_pieces(words, add_prefix_space, what, parts));
  parts.normalizer = family && family->nfc ? Json{{"type", "NFC"}} : Json();
  return write_tokenizer_json(parts);
}

}  // namespace mlc
