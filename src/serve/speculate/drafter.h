// A second, smaller model that writes how answers may go on, for the engine's model to verify in one step
// (speculative decoding, arXiv:2211.17192). It has states of its own, and what it computed of a text is kept
// for later ones as the engine keeps its own (serve/cache/prefix_cache.h).
//
// A proposal is drawn as the engine would draw there: with the request's settings and the random number that
// the verified token will be drawn with, so that models which think alike draw alike. LoRA adapters and
// grammars it does not know; what a grammar does not let come is dropped before it is verified.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chat/tokenizer/tokenizer.h"
#include "runtime/model.h"
#include "serve/cache/prefix_cache.h"
#include "serve/request.h"
#include "serve/speculate/draft_length.h"

namespace mlc::serve {

// Whether a model can propose for another: both have the same tokens, it writes text, and drops none of a
// text. Errors are one sentence that starts with `what`.
Status check_draft(const runtime::Model& target, const Tokenizer& tokenizer, const runtime::Model& draft,
                   const Tokenizer& draft_tokenizer, const std::string& what);

class Drafter {
 public:
  // The model must outlive this, and is stepped by it alone. Keeps the texts of at most `max_kept` finished
  // requests. Proposals are tokens below `vocabulary`.
  Drafter(runtime::Model& model, size_t max_kept, int64_t vocabulary);

  struct Job {
    RequestState* request = nullptr;  // whose `draft` tree receives the proposals
    int64_t depth = 0;                // tokens in a row at most
    int64_t width = 1;                // above 1: beside each of them the next most probable ones
  };
  // Begins to propose. A text that the draft model has not read yet is read first, `catch_up` tokens of all
  // such texts at most; one that is not read to its end by that gets no proposals now. Precondition: none is
  // under way.
  void begin(std::vector<Job> jobs, int64_t catch_up);
  // Whether all proposals are in their trees. Never waits.
  bool poll();
  void wait();

  // Of a request that ends or gives its memory to others; what is known of its text is kept for later ones.
  void release(RequestState& request);
  void clear();  // forgets what is kept

  // Tokens that a text may have together with its proposals.
  int64_t context_tokens() const { return model_.context_tokens(); }
  // What went wrong with a step of the model: it proposes nothing any more. Ok while it works.
  const Status& status() const { return status_; }
  int64_t steps() const { return steps_; }
  // A step's seconds for so many texts, as measured; 0 before the first.
  double step_seconds(int64_t texts) const { return cost_.seconds(texts); }
  int64_t weight_bytes() const { return model_.memory().weights; }

 private:
  struct Active {
    Job job;
    Sampler sampler;     // as the request's will be
    TokenCounts counts;  // likewise
    int32_t node = 0;    // of the tree: the newest
    int64_t rows = 0;    // of this round
    bool draws = false;  // this round gives a proposal
    int32_t newest = 0;  // proposal, which all rounds but the first compute
    // The other ways, parent and token: they follow the way that goes on, whose rows then lie together.
    std::vector<std::pair<int32_t, int32_t>> beside;
  };

  bool prepare(Job& job, int64_t& room, int64_t& catch_up);
  bool find_sequence(RequestState& request);
  void go_back(RequestState& request);
  void begin_round();
  void finish_round();
  bool take_proposal(Active& active, int64_t row);
  int32_t draw(Active& active, int64_t row);
  void choose_beside(Active& active, std::span<const float> scores, int32_t token);
  void keep_place(RequestState& request, int64_t rows);
  bool make_room(const runtime::StateCost& needed);
  void remove(DraftText& text);
  void fail(const Status& status);

  runtime::Model& model_;
  runtime::SequenceStore& store_;
  PrefixCache prefixes_;
  int64_t vocabulary_;
  runtime::SequenceId next_sequence_ = 0;
  std::vector<Active> active_;
  runtime::StateCost spoken_for_;
  int64_t round_ = 0, steps_ = 0;
  bool stepping_ = false, drawn_ = false;
  Clock::time_point begun_ = {};
  StepCost cost_;
  Status status_ = Status::ok();
};

}  // namespace mlc::serve
