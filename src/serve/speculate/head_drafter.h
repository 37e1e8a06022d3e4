// Heads that draft (medusa, arXiv:2401.10774): each guesses, of the model's last hidden state of the token
// before the newest one, a token further ahead, so one call proposes all tokens in a row.
#pragma once

#include <string>
#include <vector>

#include "runtime/head_model.h"
#include "runtime/model.h"
#include "serve/speculate/drafter.h"

namespace mlc::serve {

// Whether heads can propose for a model: they read states of its size and know its tokens. Errors are one
// sentence that starts with `what`.
Status check_heads(const runtime::Model& target, const runtime::HeadModel& heads, const std::string& what);

class HeadDrafter : public Drafter {
 public:
  // The heads must outlive this, and are run by it alone. Proposals are tokens below `vocabulary`.
  HeadDrafter(runtime::HeadModel& heads, int64_t vocabulary) : heads_(heads), vocabulary_(vocabulary) {}

  void begin(std::vector<Job> jobs, int64_t catch_up) override;
  bool poll() override;
  void wait() override;
  void release(RequestState& request) override;
  void clear() override {}
  int64_t most_depth(const RequestState& request) const override;
  bool reads_hidden() const override { return true; }
  const char* name() const override { return "medusa: the draft head"; }
  int64_t weight_bytes() const override { return heads_.weight_bytes(); }
  bool proposes_at_once() const override { return true; }

 private:
  void begin_call();
  void propose(const Job& job, int64_t row);

  runtime::HeadModel& heads_;
  int64_t vocabulary_;
  std::vector<Job> jobs_;
  size_t done_ = 0, called_ = 0;  // jobs that have their proposals; that the running call is for
  std::vector<float> hidden_;
  bool calling_ = false;
  Clock::time_point begun_ = {};
};

}  // namespace mlc::serve
