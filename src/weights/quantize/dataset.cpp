// Reads, filters and draws conversations.
#include "weights/quantize/dataset.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/json.h"
#include "base/strings.h"

namespace mlc::weights {
namespace {

constexpr size_t kFewest = 4, kLongestPrompt = 1024, kLongest = 2048;  // tokens

struct Turns {
  std::string question, answer;
};

Result<std::vector<Turns>> read_turns(const std::string& file) {
  auto json = read_json_file(file);
  if (!json.is_ok()) return Status::error("--dataset: " + json.status().message());
  if (!json->is_array())
    return Status::error(str("--dataset: ", file,
                             " is not a list, expected ShareGPT's JSON: "
                             "[{\"conversations\": [{\"value\": TEXT}, {\"value\": TEXT}]}, ...]"));
  std::vector<Turns> all;
  for (size_t i = 0; i < json->size(); ++i) {
    const Json* turns = (*json)[i].is_object() ? find((*json)[i], "conversations") : nullptr;
    if (!turns || !turns->is_array())
      return Status::error(str("--dataset: element ", i, " of ", file,
                               " has no list 'conversations', expected ShareGPT's JSON"));
    if (turns->size() < 2) continue;
    std::optional<std::string> text[2];
    for (size_t t = 0; t < 2; ++t)
      if ((*turns)[t].is_object()) text[t] = find_string((*turns)[t], "value");
    if (!text[0] || !text[1])
      return Status::error(str("--dataset: a turn of element ", i, " of ", file,
                               " has no text 'value', expected ShareGPT's JSON"));
    all.push_back({std::move(*text[0]), std::move(*text[1])});
  }
  return all;
}

}  // namespace

Result<Windows> dataset_windows(const std::string& file, const Tokenizer& tokenizer,
                                const ChatTemplate& chat_template, const DatasetOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Turns> all, read_turns(file));
  std::vector<std::pair<const Turns*, std::vector<int32_t>>> usable;  // and the answer's tokens
  for (const Turns& turns : all) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> question, tokenizer.encode(turns.question));
    ASSIGN_OR_RETURN(std::vector<int32_t> answer, tokenizer.encode(turns.answer));
    if (question.size() < kFewest || question.size() > kLongestPrompt || answer.size() < kFewest ||
        question.size() + answer.size() > kLongest)
      continue;
    usable.emplace_back(&turns, std::move(answer));
  }
  if (static_cast<int64_t>(usable.size()) < options.samples)
    return Status::error(str(
        "--dataset: ", file, " has ", usable.size(), " conversations with a question of ", kFewest, " to ",
        kLongestPrompt, " tokens and an answer of at least ", kFewest, " (of ", all.size(),
        " with two turns), expected ", options.samples, "; give more, or lower --num-calibration-samples"));
  std::mt19937_64 random(options.seed);
  Windows windows;
  for (int64_t i = 0; i < options.samples; ++i) {
    const size_t drawn = static_cast<size_t>(i) + random() % (usable.size() - static_cast<size_t>(i));
    std::swap(usable[static_cast<size_t>(i)], usable[drawn]);
    const auto& [turns, answer] = usable[static_cast<size_t>(i)];
    const Json messages = Json::array({{{"role", "user"}, {"content", turns->question}}});
    ASSIGN_OR_RETURN(std::vector<int32_t> tokens, chat_template.encode(messages, tokenizer));
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    if (options.context > 0 && static_cast<int64_t>(tokens.size()) > options.context)
      tokens.resize(static_cast<size_t>(options.context));
    for (int32_t token : tokens)
      if (token < 0 || token >= options.vocab)
        return Status::error(str("--dataset: the tokenizer gives token ", token, ", the model has ",
                                 options.vocab, "; do they belong together?"));
    windows.tokens.insert(windows.tokens.end(), tokens.begin(), tokens.end());
    windows.begins.push_back(static_cast<int64_t>(windows.tokens.size()));
  }
  return windows;
}

}  // namespace mlc::weights
