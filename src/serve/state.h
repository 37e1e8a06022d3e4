// What the engine works on: the model, the waiting and running requests, the step under way, the counters.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/model.h"
#include "serve/cache/prefix_cache.h"
#include "serve/request.h"
#include "serve/speculate/draft_length.h"
#include "serve/speculate/drafter.h"
#include "serve/speculate/head_drafter.h"
#include "serve/speculate/model_drafter.h"

namespace mlc::serve {

// How tokens are proposed that a step then verifies, several at once. What is answered does not depend on it.
enum class SpeculativeMode : uint8_t {
  kDisable,
  kNgram,       // those that followed the same tokens earlier in the text
  kSmallDraft,  // those that a second model writes (serve/speculate/model_drafter.h)
  kMedusa,      // those of heads on the model's last hidden states (serve/speculate/head_drafter.h)
};

struct EngineMetrics {
  int64_t prefill_tokens = 0, decode_tokens = 0, finished_requests = 0, preemptions = 0;
  int64_t draft_tokens = 0, accepted_draft_tokens = 0;
  int64_t steps = 0, draft_steps = 0;              // of the model; of the draft model
  int64_t jump_forward_tokens = 0;                 // that grammars forced
  double mask_seconds = 0;                         // on masks of grammars, beside the device
  int64_t most_step_tokens = 0;                    // of one step
  double prefill_seconds = 0, decode_seconds = 0;  // of steps that do both, by tokens
};

struct EngineOptions {
  size_t max_running = 1;   // requests that are computed together
  size_t max_kept = 64;     // finished requests whose sequences are kept for prompts that begin like them
  int64_t step_tokens = 0;  // of a step at most; 0: the model's prefill chunk
  SpeculativeMode speculative_mode = SpeculativeMode::kDisable;  // none where states cannot drop proposals
  int64_t spec_draft_length =
      16;                       // proposals for an answer at most; the model's max_wanted() has room for them
  int64_t spec_tree_width = 1;  // ways in which an answer may go on; more where the model verifies trees
  bool adapt_draft_length = true;  // else spec_draft_length proposals wherever there is room, paying or not
  // With kSmallDraft: a model that check_draft() allows, loaded for as many sequences and nothing else's; it
  // must outlive the engine.
  runtime::Model* draft = nullptr;
  // With kMedusa: heads that check_heads() allows, for as many texts; they must outlive the engine. The model
  // was loaded with ModelLimits::hidden_states.
  runtime::HeadModel* heads = nullptr;
  // Told a sentence where the engine goes on with less than was asked of it. May be null.
  std::function<void(const std::string&)> note = {};
};

// A step of the model that was begun.
struct RunningStep {
  std::vector<RequestState*> requests;
  // Of each request. One that wants logits has its text so far complete then.
  std::vector<runtime::StepSequence> sequences;
  bool drawn = false;                // the device draws the next tokens
  bool all_rows = false;             // the logits of every row are read
  std::vector<Drafter::Job> drafts;  // proposals to be written before the model's own step begins
  int64_t catch_up = 0;              // for Drafter::begin
  bool drafting = false;             // they are under way, the model's step is not
  Clock::time_point begun = {};
  double draft_seconds = 0;  // of what has passed since, on proposals
  struct Draw {
    int32_t token = -1;
    std::optional<Logprobs> logprobs;
  };
  std::vector<std::optional<Draw>> draws;  // of rows with logits, those that were drawn beside one another
};

struct EngineState {
  EngineState(runtime::Model& m, std::shared_ptr<const Tokenizer> t, const EngineOptions& o)
      : model(m), tokenizer(std::move(t)), options(o), prefixes(o.max_kept) {
    if (options.speculative_mode == SpeculativeMode::kSmallDraft && options.draft)
      drafter = std::make_unique<ModelDrafter>(*options.draft, options.max_kept, model.vocab_size());
    if (options.speculative_mode == SpeculativeMode::kMedusa && options.heads)
      drafter = std::make_unique<HeadDrafter>(*options.heads, model.vocab_size());
  }

  runtime::Model& model;
  std::shared_ptr<const Tokenizer> tokenizer;
  EngineOptions options;
  std::deque<std::unique_ptr<RequestState>> waiting;
  std::vector<std::unique_ptr<RequestState>> running;  // in the order in which they were admitted
  bool admits = true;  // false: the next waiting one lacks memory, and none was given back since
  PrefixCache prefixes;
  EngineMetrics metrics;
  StepCost step_cost;                // of steps without prompts
  std::unique_ptr<Drafter> drafter;  // null: there is none, or it failed
  runtime::SequenceId next_sequence = 0;
  std::optional<RunningStep> step;  // at most one is under way; its requests stay in `running`

  // Begins a step, which draws the next token of those whose text so far is then complete: on the device,
  // which then hands over nothing but tokens, where the model can and no such request changes logits.
  // Proposals that it asks for are written first.
  void begin(RunningStep s);
  // Whether the step under way is done and its tokens are streamed. Never waits.
  bool poll();
  // Waits until poll() will say so.
  void wait();
  // Streams the text of a request's next token and sets `finish` when it is done.
  void accept_token(RequestState& request, int32_t token, std::optional<Logprobs> logprobs = {});
  // Makes what a request's tree proposes part of its step.
  void propose(RequestState& request, runtime::StepSequence& sequence);
  // Ends a request: streams the last of its text with the reason. Its sequence is kept for later prompts.
  void end(RequestState& request, FinishReason reason, const std::string& error = "");
  // Removes ended requests from `running`, but not while a step runs them.
  void retire();
  // Takes the memory of the request that was admitted last: it waits again, and is computed anew later.
  // Precondition: no step is under way.
  void preempt_last();

 private:
  void begin_model();
  // The proposals are written: the step may begin, and the device works.
  bool poll_drafts();
  void add_draws(const RequestState& request, const runtime::StepSequence& sequence,
                 std::vector<DrawSettings>& settings) const;
  std::span<const float> logits_of_rows(int64_t first, int64_t count) const;
  // Makes the masks of a step whose tokens are drawn here.
  void prepare_masks();
  // Adds the tokens that a grammar forces to a request's text, to be computed with its next step.
  void jump_forward(RequestState& request);
  // The drawn token of one of the rows whose logits the step gave; `logprobs` receives those that its request
  // wants. -1: its grammar fails, and it has ended.
  int32_t token_of_row(RequestState& request, int64_t row, std::optional<Logprobs>& logprobs);
  // The tokens of all rows that wait for no other's, on all threads.
  void draw_beside();
  RunningStep::Draw draw(RequestState& request, int64_t row, std::vector<float>& scores) const;
  // The first of each request's rows among those with logits that is wanted.
  std::vector<int64_t> wanted_rows() const;
  // Keeps the hidden state of a row, of which the request's next token is drawn, where the drafter reads it.
  void keep_hidden(RequestState& request, int64_t row);
  void add_prompt_logprobs(RequestState& request, std::span<const float> logits);
  void finish(const Status& status);
  // What a step without error gave a request, whose first wanted row is `row` of those with logits.
  void finish(RequestState& request, const runtime::StepSequence& sequence, int64_t row);
  int64_t verify(RequestState& request, int64_t row);
  void remove_sequence(const RequestState& request);

  std::vector<std::vector<float>> scores_;  // memory of draw(), one for each thread
};

}  // namespace mlc::serve
