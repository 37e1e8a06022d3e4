// Rounds of the draft model: each reads what it has not read of the texts, or the newest proposals.
#include "serve/speculate/model_drafter.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve {
namespace {

// Tokens of a text that are read with the others' newest ones: those of a step that was right in all of its
// proposals, or of a few without any.
constexpr int64_t kNewest = 32;

}  // namespace

Status check_draft(const runtime::Model& target, const Tokenizer& tokenizer, const runtime::Model& draft,
                   const Tokenizer& draft_tokenizer, const std::string& what) {
  if (draft.gives_embeddings())
    return Status::error(what + " gives embeddings and writes no text; name a smaller model that writes");
  if (draft.window().tokens > 0)
    return Status::error(str(what, " drops what left its window of ", draft.window().tokens,
                             " tokens (sliding_window_size) and cannot take a proposal back; compile it "
                             "without one"));
  const int32_t most = std::max(tokenizer.vocab_size(), draft_tokenizer.vocab_size());
  for (int32_t id = 0; id < most; ++id)
    if (tokenizer.token_text(id) != draft_tokenizer.token_text(id))
      return Status::error(str(what, " has another vocabulary: its token ", id, " is '",
                               draft_tokenizer.token_text(id), "', expected '", tokenizer.token_text(id),
                               "'; name a smaller model of the same family"));
  if (std::min(target.vocab_size(), draft.vocab_size()) < tokenizer.token_count())
    return Status::error(str(what, " computes ", draft.vocab_size(), " tokens and the model ",
                             target.vocab_size(), ", expected the ", tokenizer.token_count(),
                             " of their vocabulary"));
  return Status::ok();
}

ModelDrafter::ModelDrafter(runtime::Model& model, size_t max_kept, int64_t vocabulary)
    : model_(model),
      store_(model.sequences()),
      prefixes_(max_kept),
      vocabulary_(std::min(vocabulary, model.vocab_size())) {}

void ModelDrafter::begin(std::vector<Job> jobs, int64_t catch_up) {
  internal_check(!stepping_, "drafter: a round is under way");
  active_.clear();
  spoken_for_ = {};
  round_ = 0;
  if (!status_.is_ok()) return;
  int64_t room = model_.prefill_chunk();
  for (Job& job : jobs)
    if (static_cast<int64_t>(active_.size()) == model_.max_sequences() || !prepare(job, room, catch_up))
      continue;
  begin_round();
}

// Adds a text to the first round, with what of it that may read.
bool ModelDrafter::prepare(Job& job, int64_t& room, int64_t& catch_up) {
  RequestState& r = *job.request;
  DraftText& text = r.draft_text;
  if (text.sequence < 0 ? !find_sequence(r) : (go_back(r), false)) return false;
  const auto lag = static_cast<int64_t>(r.tokens.size()) - text.computed;
  int64_t rows = std::min(lag, lag > kNewest ? std::min(room, catch_up) : room);
  if (rows <= 0) return false;
  const auto begin = r.tokens.begin() + text.computed;
  if (std::any_of(begin, begin + rows, [&](int32_t t) { return t >= model_.vocab_size(); })) return false;
  const bool draws = rows == lag;
  runtime::StateCost needed = store_.cost(text.sequence, rows + (draws ? job.depth - 1 : 0));
  needed += spoken_for_;
  if (!make_room(needed)) return false;
  spoken_for_ = needed;
  room -= rows;
  if (lag > kNewest) catch_up -= rows;
  active_.push_back({.job = job,
                     .sampler = r.sampler,
                     .counts = changes_logits(r.request.config) ? r.counts : TokenCounts(),
                     .node = static_cast<int32_t>(r.draft.known - 1),
                     .rows = rows,
                     .draws = draws,
                     .newest = 0,
                     .beside = {}});
  return true;
}

// A sequence that begins as the request's text does, or a new one.
bool ModelDrafter::find_sequence(RequestState& r) {
  const PrefixCache::Match match = prefixes_.begin(store_, next_sequence_, r.tokens);
  r.draft_text = {.sequence = match.sequence, .computed = match.tokens, .ahead = {}, .snapshot = 0};
  if (match.tokens == 0) {
    if (!make_room(store_.cost(next_sequence_, 0))) return false;
    if (!store_.add(next_sequence_).is_ok()) return false;
    r.draft_text.sequence = next_sequence_;
  }
  if (r.draft_text.sequence == next_sequence_) ++next_sequence_;
  return true;
}

// Forgets proposals that the text did not take.
void ModelDrafter::go_back(RequestState& r) {
  DraftText& text = r.draft_text;
  const auto most = static_cast<int64_t>(r.tokens.size()) - 1;  // what follows the last token is wanted
  int64_t same = std::min(text.computed, most);
  for (const int32_t token : text.ahead) {
    if (same >= most || r.tokens[static_cast<size_t>(same)] != token) break;
    ++same;
  }
  text.ahead.clear();
  text.computed = store_.rewind_point(text.sequence, same);
  const Status back = store_.rewind(text.sequence, text.computed);
  internal_check(back.is_ok(), back.message());
}

void ModelDrafter::begin_round() {
  if (active_.empty()) return;
  std::vector<runtime::StepSequence> sequences;
  std::vector<DrawSettings> settings;
  bool any = false;
  drawn_ = model_.samples();
  for (const Active& a : active_)
    drawn_ &= a.job.width == 1 && !changes_logits(a.job.request->request.config);
  for (Active& a : active_) {
    const RequestState& r = *a.job.request;
    const std::span<const int32_t> tokens =
        round_ > 0 ? std::span(&a.newest, 1)
                   : std::span(r.tokens).subspan(static_cast<size_t>(r.draft_text.computed),
                                                 static_cast<size_t>(a.rows));
    sequences.push_back({r.draft_text.sequence, tokens, a.draws ? 1 : 0});
    any |= a.draws;
    if (drawn_ && a.draws) settings.push_back(a.sampler.next(r.request.config));
  }
  begun_ = Clock::now();
  const Status begun =
      model_.begin_step(sequences, any ? runtime::WantLogits::kLast : runtime::WantLogits::kNone, settings);
  if (!begun.is_ok()) return fail(begun);
  stepping_ = true;
}

bool ModelDrafter::poll() {
  if (!stepping_) return true;
  auto done = model_.poll_step();
  if (done.is_ok() && !*done) return false;
  stepping_ = false;
  if (!done.is_ok()) {
    fail(done.status());
    return true;
  }
  finish_round();
  begin_round();
  return !stepping_;
}

void ModelDrafter::wait() {
  if (!stepping_) return;
  if (Status waited = model_.wait(); !waited.is_ok()) {
    stepping_ = false;
    fail(waited);
  }
}

void ModelDrafter::finish_round() {
  ++steps_;
  int64_t rows = 0, drawn = 0;
  bool newest = true;  // no text was caught up with
  std::vector<Active> next;
  for (Active& a : active_) {
    rows += a.rows;
    newest &= a.rows <= kNewest;
    DraftText& text = a.job.request->draft_text;
    if (round_ > 0)
      text.ahead.push_back(a.newest);
    else
      text.computed += a.rows;
    if (!a.draws) continue;
    if (round_ == 0) keep_place(*a.job.request, a.rows);
    if (take_proposal(a, drawn++))
      next.push_back(std::move(a));
    else
      for (const auto& [parent, token] : a.beside) a.job.request->draft.add(parent, token);
  }
  if (newest) cost_.put(rows, std::chrono::duration<double>(Clock::now() - begun_).count());
  active_ = std::move(next);
  ++round_;
}

// The text is read to its end, by `rows` tokens: proposals behind it will be taken back.
void ModelDrafter::keep_place(RequestState& r, int64_t rows) {
  DraftText& text = r.draft_text;
  store_.forget_snapshot(text.sequence, text.snapshot);
  store_.snapshot(text.sequence);
  text.snapshot = text.computed;
  if (text.computed - rows < static_cast<int64_t>(r.request.prompt.size()))
    prefixes_.share(text.sequence, std::span(r.tokens).first(static_cast<size_t>(text.computed)));
}

// Whether another one may follow it.
bool ModelDrafter::take_proposal(Active& a, int64_t row) {
  RequestState& r = *a.job.request;
  const int32_t token = draw(a, row);
  if (token < 0 || token >= vocabulary_) return false;
  a.node = r.draft.add(a.node, token);
  a.newest = token;
  a.rows = 1;
  ++a.counts[token];
  const std::vector<int32_t>& stops = r.request.config.stop_token_ids;
  return --a.job.depth > 0 && std::ranges::find(stops, token) == stops.end();
}

int32_t ModelDrafter::draw(Active& a, int64_t row) {
  if (drawn_) return model_.result().tokens[static_cast<size_t>(row)];
  const auto vocab = static_cast<size_t>(model_.vocab_size());
  const std::span<const float> logits =
      model_.result().logits.subspan(static_cast<size_t>(row) * vocab, vocab);
  std::vector<float> scores(logits.begin(), logits.end());
  const int32_t token = a.sampler.sample(scores, a.job.request->request.config, a.counts);
  if (a.job.width > 1)
    for (const int32_t id : tokens_beside(scores, token, a.job.width - 1, vocabulary_))
      a.beside.emplace_back(a.node, id);
  return token;
}

bool ModelDrafter::make_room(const runtime::StateCost& needed) {
  while (!needed.fits_in(store_.available()))
    if (!prefixes_.make_room(store_)) return false;
  return true;
}

void ModelDrafter::release(RequestState& r) {
  DraftText& text = r.draft_text;
  if (text.sequence < 0) return;
  text.computed = store_.rewind_point(text.sequence, text.computed);
  const Status back = store_.rewind(text.sequence, text.computed);
  internal_check(back.is_ok(), back.message());
  if (text.computed > 0)
    prefixes_.keep(store_, text.sequence, std::span(r.tokens).first(static_cast<size_t>(text.computed)));
  else
    remove(text);
  text = {};
}

void ModelDrafter::remove(DraftText& text) {
  prefixes_.forget(text.sequence);
  const Status removed = store_.remove(text.sequence);
  internal_check(removed.is_ok(), removed.message());
  text = {};
}

void ModelDrafter::clear() { prefixes_.clear(store_); }

// A step that failed may have left anything in its sequences.
void ModelDrafter::fail(const Status& status) {
  status_ = status;
  for (Active& a : active_) remove(a.job.request->draft_text);
  active_.clear();
}

}  // namespace mlc::serve
