// The loop of the embedder's thread.
#include "service/async_embedder.h"

namespace mlc::serve {

AsyncEmbedder::AsyncEmbedder(runtime::Model& model, EmbeddingForm form)
    : embedder_(model, form), thread_([this] { run(); }) {}

AsyncEmbedder::~AsyncEmbedder() {
  {
    std::lock_guard lock(mutex_);
    closed_ = stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool AsyncEmbedder::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
    busy_ = true;
  }
  wake_.notify_one();
  return true;
}

bool AsyncEmbedder::submit(std::vector<EmbeddingRequest> requests) {
  return post([requests = std::move(requests)](Embedder& embedder) mutable {
    for (EmbeddingRequest& request : requests) embedder.add(std::move(request));
  });
}

void AsyncEmbedder::abort(int64_t id) {
  post([id](Embedder& embedder) { embedder.abort(id); });
}

AsyncEmbedder::Load AsyncEmbedder::load() const {
  std::lock_guard lock(mutex_);
  return load_;
}

void AsyncEmbedder::shutdown(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  idle_.wait_for(lock, patience, [this] { return !busy_; });
  stop_ = true;
  wake_.notify_one();
  idle_.wait(lock, [this] { return !busy_; });
}

void AsyncEmbedder::run() {
  bool work = false;  // a step may have something to do
  for (;;) {
    std::vector<Task> tasks;
    bool stop = false;
    {
      std::unique_lock lock(mutex_);
      if (!work && tasks_.empty()) {
        busy_ = false;
        idle_.notify_all();
      }
      wake_.wait(lock, [&] { return work || stop_ || !tasks_.empty(); });
      tasks.swap(tasks_);
      stop = stop_;
      busy_ = true;
    }
    for (Task& task : tasks) task(embedder_);
    if (stop) embedder_.abort_all();
    work = embedder_.step();
    std::lock_guard lock(mutex_);
    load_ = {.waiting = embedder_.waiting(),
             .running = embedder_.running(),
             .steps = embedder_.steps(),
             .tokens = embedder_.computed_tokens()};
    if (!stop || work) continue;
    busy_ = false;
    idle_.notify_all();
    return;
  }
}

}  // namespace mlc::serve
