// Checkpoints whose answer is known without running a reference: the next token is a function of the last one
// alone. Embeddings are unit vectors, the one block adds zero, and the head holds the table of what follows
// what.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace mlc::testing {

// <|im_start|>ROLE, a line break, the content, <|im_end|> and a line break for each message; the prompt ends
// with a line break.
extern const char* const kChatml;
// One message and <|im_end|>, with no prompt for the answer: <|im_end|> is the prompt's last token.
extern const char* const kTurnOnly;

// What a scripted model says. Tokens are single bytes, joined merges, or specials.
struct Script {
  std::vector<std::string>
      answer;                // token by token, all distinct; then `end`, or with `loop` the answer again
  std::string start = "\n";  // the prompt's last token
  std::string end = "<|im_end|>";
  std::string fallback;  // what follows every other token; "" = end
  bool loop = false;
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::string> specials = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  bool gpt2_order = false;  // ids of bytes: in GPT-2's order (id 2 is '#') instead of the byte's value
};

struct ScriptedModel {
  Json tokenizer;                      // tokenizer.json: byte-level BPE
  std::map<std::string, int32_t> ids;  // of bytes (as themselves), merges and specials
  std::vector<int32_t> next;           // what follows each token
  std::string end;
  int32_t vocab_size() const { return static_cast<int32_t>(next.size()); }
  int32_t id(const std::string& token) const;  // throws std::out_of_range for what is no token
  void follow(const std::string& token, const std::string& by) {
    next[static_cast<size_t>(id(token))] = id(by);
  }
};

ScriptedModel scripted(const Script& script);
// Answers Hi.
ScriptedModel hi();

// As the value of a key: the key is left out.
Json dropped();

// What differs from the usual folder or file.
struct Changes {
  Json config = Json::object(), tokenizer_config = Json::object(),
       generation = Json::object();          // laid over those files
  std::string chat_template = kChatml;       // "" = none
  std::map<std::string, std::string> files;  // name -> content, instead of or beside the usual ones
  std::vector<std::string> without;          // names of files left out
};

// A Hugging Face folder: config.json, model.safetensors (float32), tokenizer.json, tokenizer_config.json and
// generation_config.json (temperature 0). Creates the folder; returns its path.
std::string write_folder(const std::string& folder, const ScriptedModel& model, const Changes& changes = {});

// What differs from the usual GGUF file.
struct GgufChanges {
  std::string architecture = "llama", pre = "gpt-2", chat_template = kChatml;
  bool end_token = true, merges = true;
  std::map<std::string, std::string> texts;  // further pairs
};

// The model as a GGUF file (llama, float32); `model` needs gpt2_order and at least one merge. Returns the
// path.
std::string write_gguf(const std::string& path, const ScriptedModel& model, const GgufChanges& changes = {});

}  // namespace mlc::testing
