// The loop of the engine's thread: tasks, then a step, then sleep where nothing is left.
#include "service/async_engine.h"

namespace mlc::serve {

AsyncEngine::AsyncEngine(runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                         const EngineOptions& options)
    : engine_(model, std::move(tokenizer), options), thread_([this] { run(); }) {}

AsyncEngine::~AsyncEngine() {
  {
    std::lock_guard lock(mutex_);
    closed_ = stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool AsyncEngine::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
    busy_ = true;
  }
  wake_.notify_one();
  return true;
}

RequestId AsyncEngine::submit(Request request) {
  const RequestId id = request.id = next_id();
  StreamCallback refuse = request.on_update;
  auto refused = [id](const std::string& why) {
    return StreamUpdate{.id = id, .text = "", .token = -1, .finish = FinishReason::kError, .error = why};
  };
  auto shared = std::make_shared<Request>(std::move(request));
  const bool posted = post([shared, refuse, refused](Engine& engine) {
    if (Status added = engine.add_request(std::move(*shared)); !added.is_ok())
      refuse(refused(added.message()));
  });
  if (!posted) refuse(refused("the engine is shutting down; it takes no more requests"));
  return id;
}

void AsyncEngine::abort(RequestId id) {
  post([id](Engine& engine) { engine.abort(id); });
}

void AsyncEngine::reset() {
  post([](Engine& engine) { engine.reset(); });
}

AsyncEngine::Load AsyncEngine::load() const {
  std::lock_guard lock(mutex_);
  return load_;
}

EngineMetrics AsyncEngine::metrics() const {
  std::lock_guard lock(mutex_);
  return metrics_;
}

void AsyncEngine::shutdown(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  idle_.wait_for(lock, patience, [this] { return !busy_; });
  stop_ = true;
  wake_.notify_one();
  idle_.wait(lock, [this] { return !busy_; });
}

void AsyncEngine::publish() {
  std::lock_guard lock(mutex_);
  load_ = {.waiting = engine_.waiting(), .running = engine_.running()};
  metrics_ = engine_.metrics();
}

void AsyncEngine::run() {
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
    for (Task& task : tasks) task(engine_);
    if (stop) engine_.abort_all();
    work = engine_.step();
    publish();
    if (stop && !work) break;
  }
  std::lock_guard lock(mutex_);
  busy_ = false;
  idle_.notify_all();
}

}  // namespace mlc::serve
