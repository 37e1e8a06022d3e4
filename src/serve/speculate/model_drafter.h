// A second, smaller model that drafts. It has states of its own, and what it computed of a text is kept for
// later ones as the engine keeps its own (serve/cache/prefix_cache.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chat/tokenizer/tokenizer.h"
#include "runtime/model.h"
#include "serve/cache/prefix_cache.h"
#include "serve/speculate/drafter.h"

namespace mlc::serve {

// Whether a model can propose for another: both have the same tokens, it writes text, and drops none of a
// text. Errors are one sentence that starts with `what`.
Status check_draft(const runtime::Model& target, const Tokenizer& tokenizer, const runtime::Model& draft,
                   const Tokenizer& draft_tokenizer, const std::string& what);

class ModelDrafter : public Drafter {
 public:
  // The model must outlive this, and is stepped by it alone. Keeps the texts of at most `max_kept` finished
  // requests. Proposals are tokens below `vocabulary`.
  ModelDrafter(runtime::Model& model, size_t max_kept, int64_t vocabulary);

  void begin(std::vector<Job> jobs, int64_t catch_up) override;
  bool poll() override;
  void wait() override;
  void release(RequestState& request) override;
  void clear() override;
  int64_t most_depth(const RequestState& request) const override {
    return model_.context_tokens() - static_cast<int64_t>(request.tokens.size());
  }
  const char* name() const override { return "small_draft: the draft model"; }
  int64_t weight_bytes() const override { return model_.memory().weights; }

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
  int64_t round_ = 0;
  bool stepping_ = false, drawn_ = false;
  Clock::time_point begun_ = {};
};

}  // namespace mlc::serve
