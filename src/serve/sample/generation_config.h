// What a request may say about how its tokens are chosen (mlc-facts 8.5, 8.7), with the model's defaults.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/grammar/grammar.h"

namespace mlc::serve {

struct GenerationConfig {
  double temperature = 1.0;  // below 1e-5: greedy
  double top_p = 1.0;
  double frequency_penalty = 0.0;        // [-2, 2]
  double presence_penalty = 0.0;         // [-2, 2]
  double repetition_penalty = 1.0;       // > 0
  int64_t top_k = 0;                     // only the most probable so many are drawn; 0: all
  double min_p = 0;                      // [0, 1]: nothing less probable than this share of the most probable
  std::map<int32_t, double> logit_bias;  // [-100, 100]
  int64_t max_tokens = -1;               // -1: up to the context
  std::optional<uint64_t> seed;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool logprobs = false;         // streams the log probability of each token (serve/sample/logprobs.h)
  int64_t top_logprobs = 0;      // and of so many of the most probable, at most 20
  bool prompt_logprobs = false;  // and those of the prompt; its prefix is then never taken from a cache
  std::shared_ptr<const Grammar> grammar = {};  // what the answer may be; null: anything
  bool jump_forward = true;                     // tokens that the grammar forces are not computed one by one
  bool end_cycles = false;  // ends an answer that only repeats itself (serve/cycle.h), with kCycle

  // temperature, top_p and the two penalties of an mlc-chat-config.json; nothing else of it is read
  // (mlc-facts 4.2).
  static GenerationConfig from_mlc_config(const Json& config);
  // One sentence for the first value out of its range.
  Status validate() const;
};

}  // namespace mlc::serve
