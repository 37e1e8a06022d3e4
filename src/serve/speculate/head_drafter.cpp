// One call for all texts, then a draw of each head.
#include "serve/speculate/head_drafter.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve {
namespace {

// The head that guesses what follows the newest token: the first one, unless more tokens came since the
// hidden state that is known, as a grammar forces them.
int64_t first_head(const RequestState& r) {
  return static_cast<int64_t>(r.tokens.size()) - 2 - r.draft_text.hidden_at;
}

}  // namespace

Status check_heads(const runtime::Model& target, const runtime::HeadModel& heads, const std::string& what) {
  if (heads.hidden_size() != target.hidden_size())
    return Status::error(str(what, " reads hidden states of ", heads.hidden_size(), ", the model's are of ",
                             target.hidden_size(), "; name the head that was made for it"));
  if (heads.vocab_size() != target.vocab_size())
    return Status::error(str(what, " has another vocabulary: it proposes ", heads.vocab_size(),
                             " tokens, expected the ", target.vocab_size(),
                             " of the model; name the head that was made for it"));
  return Status::ok();
}

int64_t HeadDrafter::most_depth(const RequestState& r) const {
  if (r.draft_text.hidden_at < 0) return 0;
  return std::max<int64_t>(heads_.heads() - first_head(r), 0);
}

void HeadDrafter::begin(std::vector<Job> jobs, int64_t /*catch_up*/) {
  internal_check(!calling_, "head drafter: a call is under way");
  jobs_ = std::move(jobs);
  std::erase_if(jobs_, [&](const Job& job) { return most_depth(*job.request) == 0; });
  done_ = called_ = 0;
  if (status_.is_ok()) begin_call();
}

// For as many texts as a call takes.
void HeadDrafter::begin_call() {
  called_ = std::min(jobs_.size() - done_, static_cast<size_t>(heads_.max_rows()));
  if (called_ == 0) return;
  hidden_.clear();
  for (const Job& job : std::span(jobs_).subspan(done_, called_)) {
    const std::vector<float>& hidden = job.request->draft_text.hidden;
    hidden_.insert(hidden_.end(), hidden.begin(), hidden.end());
  }
  begun_ = Clock::now();
  status_ = heads_.begin(hidden_);
  calling_ = status_.is_ok();
}

bool HeadDrafter::poll() {
  if (!calling_) return true;
  auto done = heads_.poll();
  if (done.is_ok() && !*done) return false;
  calling_ = false;
  status_ = done.status();
  if (!status_.is_ok()) return true;
  ++steps_;
  cost_.put(static_cast<int64_t>(called_), std::chrono::duration<double>(Clock::now() - begun_).count());
  for (size_t i = 0; i < called_; ++i) propose(jobs_[done_ + i], static_cast<int64_t>(i));
  done_ += called_;
  begin_call();
  return !calling_;
}

void HeadDrafter::wait() {
  if (!calling_) return;
  status_ = heads_.wait();
  calling_ = status_.is_ok();
}

// A token of each head, one behind the other, and beside it the next most probable ones.
void HeadDrafter::propose(const Job& job, int64_t row) {
  RequestState& r = *job.request;
  const GenerationConfig& config = r.request.config;
  const std::vector<int32_t>& stops = config.stop_token_ids;
  const int64_t first = first_head(r), depth = std::min(job.depth, most_depth(r));
  Sampler sampler = r.sampler;  // as the request's will be; the counts likewise
  TokenCounts counts = changes_logits(config) ? r.counts : TokenCounts();
  auto node = static_cast<int32_t>(r.draft.known - 1);
  std::vector<std::pair<int32_t, int32_t>> beside;  // behind the way that goes on, whose rows lie together
  for (int64_t i = 0; i < depth; ++i) {
    const std::span<const float> logits = heads_.logits(first + i, row);
    std::vector<float> scores(logits.begin(), logits.end());
    const int32_t token = sampler.sample(scores, config, counts);
    for (const int32_t id : tokens_beside(scores, token, job.width - 1, vocabulary_))
      beside.emplace_back(node, id);
    if (token < 0 || token >= vocabulary_) break;
    node = r.draft.add(node, token);
    ++counts[token];
    if (std::ranges::find(stops, token) != stops.end()) break;
  }
  for (const auto& [parent, token] : beside) r.draft.add(parent, token);
}

void HeadDrafter::release(RequestState& r) { r.draft_text = {}; }

}  // namespace mlc::serve
