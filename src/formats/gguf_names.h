// What a GGUF file calls things, in Hugging Face's words: tensor names, moved rows, config.json, the
// tokenizer's data. Known architectures: llama (also Mistral and SmolLM), qwen2, gptneox.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "formats/gguf.h"

namespace mlc {

// How a converter to GGUF moved the rows of a weight (or the elements of a bias).
struct RowOrder {
  enum class Kind { kSame, kLlamaPairs, kNeoxQkv } kind = Kind::kSame;
  int64_t heads = 1;

  // Where row `row` of Hugging Face's tensor with `rows` rows lies in the file. d = rows / heads:
  //   kLlamaPairs (q, k of llama): halves of a head became pairs: row h*d + j*(d/2) + i lies at h*d + 2*i + j
  //   kNeoxQkv: [head][q, k, v] became [q, k, v][head]; d = rows / (3*heads): row (h*3 + c)*d + i lies at
  //   (c*heads + h)*d + i
  int64_t stored_row(int64_t row, int64_t rows) const;
};

struct GgufName {
  std::string name;  // Hugging Face's; the file's own where the architecture has no such tensor
  RowOrder order;
  std::string unread;  // "" or why the rows cannot be put in order: order is kSame then
};

// Whether we translate `architecture` (metadata general.architecture); the error lists those we do.
Status check_gguf_architecture(const Gguf& gguf, const std::string& what);

// Translates a tensor's name; nullopt for tensors that Hugging Face's checkpoint does not have
// (rope_freqs.weight). Errors: architectures that we do not know, no sound head count where rows were moved.
Result<std::optional<GgufName>> translate_gguf_tensor(const Gguf& gguf, const GgufTensor& tensor,
                                                      const std::string& what);

// config.json as Hugging Face would write it: architectures, model_type, sizes, rope_theta, rope_scaling,
// tie_word_embeddings (true when there is no output.weight), vocab_size, token ids, and sampling settings
// (temperature 0.7 and top_p 0.95, as in MLC's documents, when the file has none). `file` is the whole file:
// llama 3's rope_scaling is recognised by the factors in its rope_freqs.weight. Keys that are not applied:
// gguf_keys.h.
Result<Json> gguf_config(const Gguf& gguf, std::span<const std::byte> file, const std::string& what);

// The tokenizer's data as plain values, for the tokenizer room to convert. Text is raw bytes (UTF-8 in sound
// files).
struct GgufTokenizer {
  std::string model;  // tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama" (SentencePiece), ...
  std::string pre;    // tokenizer.ggml.pre: "smollm", "llama-bpe", "qwen2", ... or ""
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // empty or one a token
  std::vector<int32_t>
      token_types;  // empty or one a token: 1 normal 2 unknown 3 control 4 user-defined 5 unused 6 byte
  std::vector<std::string> merges;  // "left right" by rank; empty when the model has none
  std::string chat_template;        // "" when absent
  std::optional<int64_t> bos_id, eos_id, eot_id, eom_id, unknown_id, padding_id, separator_id, class_id,
      mask_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};
// Refused: no tokens, lists whose lengths differ, special ids outside the vocabulary, a byte-level vocabulary
// with words but without the merges that make them.
Result<GgufTokenizer> gguf_tokenizer(const Gguf& gguf, const std::string& what);

}  // namespace mlc
