// Builds steps of texts and pools their rows.
#include "serve/embed/embedder.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve {

using runtime::StateCost;

Embedder::Embedder(runtime::Model& model, EmbeddingForm form) : model_(model), form_(form) {
  internal_check(model.gives_embeddings(), "an embedder of a model that writes text");
}

int64_t Embedder::most_tokens() const {
  const int64_t context = model_.context_tokens();
  return model_.is_encoder() ? std::min(context, model_.prefill_chunk()) : context;
}

Status Embedder::check(std::span<const int32_t> tokens) const {
  const auto length = static_cast<int64_t>(tokens.size());
  if (length == 0) return Status::error("it is empty, expected at least one token");
  if (length > most_tokens())
    return Status::error(str("it has ", length, " tokens, this model takes at most ", most_tokens(),
                             "; shorten it, or embed it in parts"));
  for (int32_t token : tokens)
    if (token < 0 || token >= model_.vocab_size())
      return Status::error(str("token ", token, " is outside of the vocabulary of ", model_.vocab_size()));
  return Status::ok();
}

void Embedder::add(EmbeddingRequest request) { waiting_.push_back(std::move(request)); }

void Embedder::abort(int64_t id) {
  const Status aborted = Status::error("the request was aborted");
  std::vector<EmbeddingRequest> ended;
  for (EmbeddingRequest& request : waiting_)
    if (request.id == id) ended.push_back(std::move(request));
  std::erase_if(waiting_, [id](const EmbeddingRequest& request) { return request.id == id; });
  for (EmbeddingRequest& request : ended) request.on_done(aborted);
  for (auto& text : running_)
    if (text->request.id == id) end(*text, aborted);
  retire();
}

void Embedder::abort_all() {
  const Status aborted = Status::error("the request was aborted");
  for (EmbeddingRequest& request : std::exchange(waiting_, {})) request.on_done(aborted);
  for (auto& text : running_) end(*text, aborted);
  retire();
}

// Texts for which there is memory beside those that run.
void Embedder::admit() {
  runtime::SequenceStore& store = model_.sequences();
  StateCost promised;
  for (const auto& text : running_) {
    promised += store.text_cost(static_cast<int64_t>(text->request.tokens.size()));
    promised -= store.text_cost(static_cast<int64_t>(text->computed));
  }
  const auto most = static_cast<size_t>(model_.max_sequences());
  while (!waiting_.empty() && running_.size() < most) {
    promised += store.text_cost(static_cast<int64_t>(waiting_.front().tokens.size()));
    if (!running_.empty() && !promised.fits_in(store.available())) return;
    auto text = std::make_unique<Text>(Text{.request = std::move(waiting_.front()),
                                            .sequence = next_sequence_++,
                                            .pooler = Pooler(form_.pooling, model_.hidden_size())});
    waiting_.pop_front();
    const Status added = store.add(text->sequence);
    internal_check(added.is_ok(), added.message());
    running_.push_back(std::move(text));
  }
}

std::vector<runtime::StepSequence> Embedder::build(std::vector<Text*>& texts) {
  std::vector<runtime::StepSequence> sequences;
  auto room = static_cast<size_t>(model_.prefill_chunk());
  for (auto& text : running_) {
    const size_t left = text->request.tokens.size() - text->computed;
    if (room == 0 || (model_.is_encoder() && left > room)) break;
    const size_t n = std::min(room, left);
    sequences.push_back({.id = text->sequence,
                         .tokens = std::span<const int32_t>(text->request.tokens).subspan(text->computed, n),
                         .wanted = 0});
    texts.push_back(text.get());
    room -= n;
  }
  return sequences;
}

bool Embedder::step() {
  admit();
  if (running_.empty()) return false;
  std::vector<Text*> texts;
  const std::vector<runtime::StepSequence> sequences = build(texts);
  const auto states = model_.step(sequences, runtime::WantLogits::kHiddenStates);
  ++steps_;
  size_t row = 0;
  const auto hidden = static_cast<size_t>(model_.hidden_size());
  for (size_t i = 0; i < texts.size(); ++i) {
    Text& text = *texts[i];
    if (!states.is_ok()) {
      end(text, states.status());
      continue;
    }
    const size_t n = sequences[i].tokens.size();
    text.pooler.put(states->subspan(row * hidden, n * hidden));
    row += n;
    text.computed += n;
    computed_ += static_cast<int64_t>(n);
    if (text.computed < text.request.tokens.size()) continue;
    std::vector<float> result = text.pooler.take();
    if (form_.normalize) normalize(result);
    end(text, std::move(result));
  }
  retire();
  return true;
}

void Embedder::end(Text& text, Result<std::vector<float>> result) {
  text.ended = true;
  const Status removed = model_.sequences().remove(text.sequence);
  internal_check(removed.is_ok(), removed.message());
  text.request.on_done(std::move(result));
}

void Embedder::retire() {
  std::erase_if(running_, [](const auto& text) { return text->ended; });
}

}  // namespace mlc::serve
