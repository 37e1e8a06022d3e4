// Texts and their vectors between threads.
#include "service/async_embedder.h"

namespace mlc::serve {

AsyncEmbedder::AsyncEmbedder(runtime::Model& model, EmbeddingForm form)
    : embedder_(model, form), thread_([this] { return step(); }, [this] { embedder_.abort_all(); }) {}

bool AsyncEmbedder::submit(std::vector<EmbeddingRequest> requests) {
  return thread_.post([this, requests = std::move(requests)]() mutable {
    for (EmbeddingRequest& request : requests) embedder_.add(std::move(request));
  });
}

void AsyncEmbedder::abort(int64_t id) {
  thread_.post([this, id] { embedder_.abort(id); });
}

AsyncEmbedder::Load AsyncEmbedder::load() const {
  std::lock_guard lock(mutex_);
  return load_;
}

bool AsyncEmbedder::step() {
  const bool work = embedder_.step();
  std::lock_guard lock(mutex_);
  load_ = {.waiting = embedder_.waiting(),
           .running = embedder_.running(),
           .steps = embedder_.steps(),
           .tokens = embedder_.computed_tokens()};
  return work;
}

}  // namespace mlc::serve
