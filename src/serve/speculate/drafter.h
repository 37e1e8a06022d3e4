// Who writes how answers may go on, for the engine's model to verify in one step (speculative decoding,
// arXiv:2211.17192): another model (model_drafter.h), or heads on the model's own last hidden states
// (head_drafter.h).
//
// A proposal is drawn as the engine would draw there: with the request's settings and the random number that
// the verified token will be drawn with, so that drafters which think as the model draw alike. LoRA adapters
// and grammars they do not know; what a grammar does not let come is dropped before it is verified.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "serve/request.h"
#include "serve/speculate/draft_length.h"

namespace mlc::serve {

class Drafter {
 public:
  Drafter() = default;
  Drafter(const Drafter&) = delete;
  Drafter& operator=(const Drafter&) = delete;
  virtual ~Drafter() = default;

  struct Job {
    RequestState* request = nullptr;  // whose `draft` tree receives the proposals
    int64_t depth = 0;                // tokens in a row at most
    int64_t width = 1;                // above 1: beside each of them the next most probable ones
  };
  // Begins to propose. A text that the drafter has not read yet is read first, `catch_up` tokens of all such
  // texts at most; one that is not read to its end by that gets no proposals now. Precondition: none is under
  // way.
  virtual void begin(std::vector<Job> jobs, int64_t catch_up) = 0;
  // Whether all proposals are in their trees. Never waits.
  virtual bool poll() = 0;
  virtual void wait() = 0;

  // Of a request that ends or gives its memory to others; what is known of its text is kept for later ones.
  virtual void release(RequestState& request) = 0;
  virtual void clear() = 0;  // forgets what is kept

  // Tokens in a row that it can propose for a request as its text is now.
  virtual int64_t most_depth(const RequestState& request) const = 0;
  // Whether it needs the model's last hidden states: those that the newest tokens were drawn of, in
  // DraftText::hidden.
  virtual bool reads_hidden() const { return false; }
  // What begins a sentence about it: "small_draft: the draft model".
  virtual const char* name() const = 0;
  // What went wrong: it proposes nothing any more. Ok while it works.
  const Status& status() const { return status_; }
  int64_t steps() const { return steps_; }
  // A step's seconds for so many texts, as measured; 0 before the first.
  double step_seconds(int64_t texts) const { return cost_.seconds(texts); }
  virtual int64_t weight_bytes() const = 0;
  // Whether one step gives all tokens in a row, else one step gives one of them.
  virtual bool proposes_at_once() const { return false; }

 protected:
  Status status_ = Status::ok();
  StepCost cost_;
  int64_t steps_ = 0;
};

// The most probable tokens of `probabilities` but `token`, `count` of them at most and below `vocabulary`.
std::vector<int32_t> tokens_beside(std::span<const float> probabilities, int32_t token, int64_t count,
                                   int64_t vocabulary);

}  // namespace mlc::serve
