// What every action of the engine works on: the model, the waiting and running requests, the counters.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "runtime/model.h"
#include "serve/cache/recent_sequences.h"
#include "serve/request.h"

namespace mlc::serve {

struct EngineMetrics {
  int64_t prefill_tokens = 0, decode_tokens = 0, finished_requests = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

struct EngineState {
  EngineState(runtime::Model& m, std::shared_ptr<const Tokenizer> t, size_t max_running, size_t max_kept)
      : model(m), tokenizer(std::move(t)), max_running(max_running), recent(max_kept) {}

  runtime::Model& model;
  std::shared_ptr<const Tokenizer> tokenizer;
  size_t max_running;
  std::deque<std::unique_ptr<RequestState>> waiting;
  std::vector<std::unique_ptr<RequestState>> running;
  RecentSequences recent;
  EngineMetrics metrics;
  runtime::SequenceId next_sequence = 0;

  // Runs the new tokens of the sequences, each of the request beside it, and draws the next token of those
  // whose text so far is then complete; -1 for the others. On the device, which then hands over nothing but
  // tokens, where the model can and no such request changes logits.
  Result<std::vector<int32_t>> next_tokens(std::span<RequestState* const> requests,
                                           std::span<const runtime::StepSequence> sequences);
  // Streams the text of a request's next token and sets `finish` when it is done.
  void accept_token(RequestState& request, int32_t token);
  // Ends a request: streams the last of its text with the reason. Its sequence is kept for later prompts.
  void end(RequestState& request, FinishReason reason, const std::string& error = "");
  // Removes ended requests from `running`.
  void retire();
};

}  // namespace mlc::serve
