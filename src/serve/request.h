// One request on its way through the engine: its prompt, what was generated, and the text that came out.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/stream.h"
#include "runtime/sequences/sequence_store.h"
#include "serve/constraint.h"
#include "serve/cycle.h"
#include "serve/sample/logprobs.h"
#include "serve/sample/sampler.h"
#include "serve/speculate/draft_length.h"
#include "serve/speculate/draft_text.h"
#include "serve/speculate/ngram.h"

namespace mlc::serve {

using RequestId = int64_t;
using Clock = std::chrono::steady_clock;

enum class FinishReason : uint8_t { kNone, kStop, kLength, kError, kAbort, kCycle };
const char* finish_reason_text(FinishReason reason);  // "stop", "length", ...

struct RequestMetrics {
  int64_t prompt_tokens = 0;     // all of the prompt
  int64_t prefilled_tokens = 0;  // of it, those that were not in the cache already
  int64_t completion_tokens = 0;
  double prefill_seconds = 0;      // in steps that ran its prompt
  double decode_seconds = 0;       // in steps that ran one token of it
  double time_to_first_token = 0;  // seconds from add_request
  int64_t decode_tokens = 0;       // drawn in other steps
  int64_t preemptions = 0;         // how often it gave its memory to others and was computed again
  double prefill_tokens_per_second() const;
  double decode_tokens_per_second() const;
};

// What one engine step adds to a request's answer.
struct StreamUpdate {
  RequestId id = 0;
  std::string text;    // whole characters, nothing of a stop string
  int32_t token = -1;  // the token sampled in this step
  FinishReason finish = FinishReason::kNone;
  std::string error;                      // with kError: one sentence
  RequestMetrics metrics;                 // with a finish: of the whole request
  std::optional<Logprobs> logprobs = {};  // of `token`, where the request wants them
  // With its first token or its end, where the request wants them: of the prompt's second token and on.
  std::vector<Logprobs> prompt_logprobs = {};
  std::string stop_string = {};  // with kStop: the stop string that was met, "" for an end token
};
using StreamCallback = std::function<void(const StreamUpdate&)>;

struct Request {
  RequestId id = 0;
  std::vector<int32_t> prompt;
  GenerationConfig config;
  StreamCallback on_update;
  std::string adapter = {};  // name of a loaded LoRA adapter; "": none
};

// A request inside the engine.
struct RequestState {
  RequestState(Request r, std::shared_ptr<const Tokenizer> tokenizer);

  Request request;
  runtime::SequenceId sequence = -1;  // -1: waiting
  std::vector<int32_t> tokens;        // prompt, then what was generated
  int64_t computed = 0;               // tokens that its sequence holds
  int32_t adapter = -1;               // slot of its adapter
  TokenCounts counts;                 // of generated tokens
  Sampler sampler;
  NgramIndex ngrams;  // of tokens, where they are asked for proposals
  DraftLength draft_length;
  DraftText draft_text;                    // what a draft model holds of it
  TokenTree draft;                         // that the running step verifies
  int64_t accepted = 0;                    // pending tokens before the newest: right proposals that lay apart
  CycleDetector cycle;                     // of an answer that end_cycles ends
  std::unique_ptr<Constraint> constraint;  // of its grammar, as far as tokens go; null: none
  TextStream text;
  std::vector<Logprobs> prompt_logprobs;  // gathered so far, not streamed yet
  FinishReason finish = FinishReason::kNone;
  RequestMetrics metrics;
  Clock::time_point arrived;

  int64_t generated() const { return static_cast<int64_t>(tokens.size() - request.prompt.size()); }
  std::span<const int32_t> computed_tokens() const {
    return std::span(tokens).first(static_cast<size_t>(computed));
  }
  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
  // Whether nothing but its newest tokens is left to compute, else more of a prompt, or of all when it was
  // preempted.
  bool decoding() const { return generated() > 0 && pending() == 1 + accepted; }
};

}  // namespace mlc::serve
