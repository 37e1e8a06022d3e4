// Builds the batch of a step: answers first, then prompts.
#include "serve/scheduler.h"

#include <algorithm>

namespace mlc::serve {
namespace {

using runtime::StateCost;

// Of prompts in a step that also writes answers, or as many as there are answers. Measured by bench/serve: 16
// answers on 2 cores get 289 tokens a second so beside prompts of 1500 tokens, which take 1.8 s to their
// first token; in steps of 512 tokens they get 52, and the prompts take 1.2 s.
constexpr int64_t kPromptTokensBesideAnswers = 48;

// Of a prompt whose log probabilities are wanted, in one step: the logits of all its rows are kept then, for
// a vocabulary of 128k 64 * 131072 * 4 = 34 MB.
constexpr int64_t kPromptRowsWithLogits = 64;

StateCost operator-(StateCost a, const StateCost& b) { return a -= b; }

class StepBuilder {
 public:
  explicit StepBuilder(EngineState& state) : state_(state), store_(state.model.sequences()) {
    const int64_t most = state.model.prefill_chunk(), wanted = state.options.step_tokens;
    room_ = wanted > 0 ? std::min(wanted, most) : most;
  }

  // The newest token of each answer, and proposals for what follows it.
  void add_answers() {
    for (size_t i = 0; i < state_.running.size() && room_ > 0; ++i) {
      RequestState& r = *state_.running[i];
      if (r.decoding() && make_room_for_tokens(r, i)) add(r, std::min(room_, r.pending()));
    }
    if (!proposes() || !store_.drops_proposals()) return;
    for (const auto& r : state_.running)  // the step will give the logits of every row, which trees have not
      if (r->request.config.prompt_logprobs && !r->decoding()) return;
    const auto answers = static_cast<int64_t>(step_.requests.size());
    for (int64_t i = 0; i < answers; ++i) propose(i, answers);
  }

  // Moves waiting requests to running while all of their prompts fit beside those that run.
  void admit() {
    StateCost promised = spoken_for_;
    for (const auto& r : state_.running) promised += rest_of_prompt(*r);
    while (!state_.waiting.empty() && state_.running.size() < state_.options.max_running && state_.admits) {
      std::unique_ptr<RequestState> r = std::move(state_.waiting.front());
      state_.waiting.pop_front();
      begin_sequence(*r);
      promised += rest_of_prompt(*r);
      if (state_.running.empty() || make_room(promised)) {
        if (r->sequence < 0) add_sequence(*r);
        if (r->metrics.preemptions == 0) r->metrics.prefilled_tokens = r->metrics.prompt_tokens - r->computed;
        state_.running.push_back(std::move(r));
        continue;
      }
      if (r->sequence >= 0) {  // kept as it was found, to be found again
        state_.prefixes.keep(store_, r->sequence, r->computed_tokens(), r->adapter);
        r->sequence = -1;
        r->computed = 0;
      }
      state_.waiting.push_front(std::move(r));
      state_.admits = false;
    }
  }

  // Parts of prompts, of earlier requests first.
  void add_prompts() {
    const size_t answers = step_.requests.size();
    if (answers > 0)
      room_ = std::min(room_, std::max(kPromptTokensBesideAnswers, static_cast<int64_t>(answers)));
    for (auto& r : state_.running) {
      if (room_ == 0) return;
      if (r->decoding() || r->finish != FinishReason::kNone) continue;
      if (r->request.config.prompt_logprobs) {
        if (step_.requests.size() > answers) return;  // beside no other prompt
        room_ = std::min(room_, kPromptRowsWithLogits);
      }
      if (const int64_t n = tokens_that_fit(*r); n > 0) add(*r, n);
    }
  }

  RunningStep take() {
    step_.catch_up = step_.requests.size() == 1 ? state_.model.prefill_chunk() : kPromptTokensBesideAnswers;
    return std::move(step_);
  }

 private:
  bool proposes() const {
    return state_.options.speculative_mode == SpeculativeMode::kNgram || state_.drafter != nullptr;
  }

  void add(RequestState& r, int64_t n) {
    spoken_for_ += store_.cost(r.sequence, n);
    step_.requests.push_back(&r);
    step_.sequences.push_back(
        {r.sequence, std::span(r.tokens).subspan(static_cast<size_t>(r.computed), static_cast<size_t>(n)),
         n == r.pending() ? 1 : 0});
    step_.sequences.back().adapter = r.adapter;
    room_ -= n;
  }

  // How many proposals the i-th request of the step may get.
  int64_t most_proposals(int64_t i, int64_t answers) const {
    const RequestState& r = *step_.requests[static_cast<size_t>(i)];
    const auto length = static_cast<int64_t>(r.tokens.size());
    const GenerationConfig& config = r.request.config;
    int64_t most = std::min(state_.options.spec_draft_length, room_);
    most = std::min(most, state_.model.max_wanted() / answers - 1);
    most = std::min(most, state_.model.context_tokens() - length - 1);
    if (config.max_tokens >= 0) most = std::min(most, config.max_tokens - r.generated() - 1);
    return most;
  }

  // Proposals for the i-th request of the step, where they pay and memory is free.
  void propose(int64_t i, int64_t answers) {
    RequestState& r = *step_.requests[static_cast<size_t>(i)];
    runtime::StepSequence& sequence = step_.sequences[static_cast<size_t>(i)];
    const auto pending = static_cast<int64_t>(sequence.tokens.size());
    if (sequence.wanted == 0) return;
    if (!state_.drafter) r.ngrams.put(r.tokens);
    int64_t most = most_proposals(i, answers);
    const bool trees =
        state_.model.verifies_trees() && !state_.model.deterministic() && !r.constraint;  // else a chain
    const int64_t width = trees ? state_.options.spec_tree_width : 1;
    if (width > 1) most = std::min(most, kMostTreeTokens - pending);
    if (state_.drafter) most = std::min(most, width * state_.drafter->most_depth(r));
    const int64_t equal = state_.drafter ? 0 : r.ngrams.equal_past(r.tokens);
    if ((equal == 0 && !state_.drafter) || most <= 0) return;
    most = worth(r, most, equal, answers, width);
    spoken_for_ -= store_.cost(r.sequence, pending);
    most =
        std::min(most, store_.tokens_that_fit(r.sequence, pending + std::max<int64_t>(most, 0), spoken_for_) -
                           pending);
    r.draft = {.tokens = {sequence.tokens.begin(), sequence.tokens.end()}, .parents = {}, .known = pending};
    for (int32_t node = 0; node < pending; ++node) r.draft.parents.push_back(node - 1);
    int64_t proposals = std::max<int64_t>(most, 0) / width *
                        width;  // of a draft model, which writes them when the step begins
    if (state_.drafter && proposals > 0) {
      step_.drafts.push_back({&r, proposals / width, width});
    } else if (!state_.drafter) {
      r.ngrams.propose(r.tokens, most, width, r.draft);
      state_.propose(r, sequence);
      proposals = r.draft.proposals();
    }
    room_ -= proposals;
    spoken_for_ += store_.cost(r.sequence, pending + proposals);
  }

  // How many proposals pay, of `most`.
  int64_t worth(RequestState& r, int64_t most, int64_t equal, int64_t answers, int64_t width) const {
    if (!state_.options.adapt_draft_length) return most;
    const double row_share = state_.step_cost.row_share();
    if (!state_.drafter) return r.draft_length.choose(most, equal, answers, row_share);
    const auto ways = static_cast<double>(width);
    return width * r.draft_length.choose(most / width, equal, answers, row_share * ways, draft_share(answers),
                                         state_.drafter->proposes_at_once());
  }

  // The time of a step of the draft model as a share of what a step of the model takes apart from its rows;
  // until both are measured that of their weights, which steps of few rows read.
  double draft_share(int64_t answers) const {
    const double draft = state_.drafter->step_seconds(answers), fixed = state_.step_cost.seconds(0);
    if (draft > 0 && fixed > 0) return draft / fixed;
    return static_cast<double>(state_.drafter->weight_bytes()) /
           static_cast<double>(state_.model.memory().weights);
  }

  bool make_room(const StateCost& needed) {
    while (!needed.fits_in(store_.available()))
      if (!state_.prefixes.make_room(store_)) return false;
    return true;
  }

  // For the newest tokens of the request at `index`: those that were admitted after it make way. False: it
  // made way itself, or has ended.
  bool make_room_for_tokens(RequestState& r, size_t index) {
    StateCost needed = store_.cost(r.sequence, r.pending());
    needed += spoken_for_;
    while (!make_room(needed)) {
      if (state_.running.size() == 1) {
        state_.end(r, FinishReason::kLength);
        return false;
      }
      const bool itself = index + 1 == state_.running.size();
      state_.preempt_last();
      if (itself) return false;
    }
    return true;
  }

  // A sequence that begins as the request's text does, if there is one.
  void begin_sequence(RequestState& r) {
    if (r.request.config.prompt_logprobs) return;  // needs the logits of its whole prompt
    const auto match = state_.prefixes.begin(store_, state_.next_sequence, r.tokens, r.adapter);
    if (match.tokens == 0) return;
    if (match.sequence == state_.next_sequence) ++state_.next_sequence;
    r.sequence = match.sequence;
    r.computed = match.tokens;
  }

  void add_sequence(RequestState& r) {
    r.sequence = state_.next_sequence++;
    const bool room = make_room(store_.cost(r.sequence, 0));
    internal_check(room, "no slot for one of max_running sequences");
    Status added = store_.add(r.sequence);
    internal_check(added.is_ok(), added.message());
  }

  // What the text so far will take beyond what its sequence holds.
  StateCost rest_of_prompt(const RequestState& r) const {
    StateCost whole = store_.text_cost(static_cast<int64_t>(r.tokens.size()));
    return r.sequence < 0 ? whole : whole - store_.text_cost(r.computed);
  }

  int64_t tokens_that_fit(const RequestState& r) {
    const int64_t wanted = std::min(room_, r.pending());
    for (;;) {
      const int64_t fits = store_.tokens_that_fit(r.sequence, wanted, spoken_for_);
      if (fits >= wanted || !state_.prefixes.make_room(store_)) return fits;
    }
  }

  EngineState& state_;
  runtime::SequenceStore& store_;
  int64_t room_ = 0;  // tokens that the step may still take
  StateCost spoken_for_;
  RunningStep step_;
};

}  // namespace

bool schedule(EngineState& state) {
  for (;;) {
    StepBuilder builder(state);
    builder.add_answers();
    builder.admit();
    builder.add_prompts();
    RunningStep step = builder.take();
    if (!step.requests.empty()) {
      state.begin(std::move(step));
      return true;
    }
    const size_t before = state.running.size();
    state.retire();
    if (state.running.size() != before) return true;
    if (before == 0) return false;
    // Prompts that stand in each other's way.
    if (before > 1)
      state.preempt_last();
    else
      state.end(*state.running[0], FinishReason::kError,
                "the KV cache is full; run fewer requests or raise context_window_size");
  }
}

}  // namespace mlc::serve
