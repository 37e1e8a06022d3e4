// Requests and their ends between threads.
#include "service/async_engine.h"

namespace mlc::serve {

AsyncEngine::AsyncEngine(runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                         const EngineOptions& options)
    : engine_(model, std::move(tokenizer), options),
      thread_([this] { return step(); }, [this] { engine_.abort_all(); }) {}

bool AsyncEngine::post(Task task) {
  return thread_.post([this, task = std::move(task)] { task(engine_); });
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

bool AsyncEngine::step() {
  const bool work = engine_.step();
  std::lock_guard lock(mutex_);
  load_ = {.waiting = engine_.waiting(), .running = engine_.running()};
  metrics_ = engine_.metrics();
  return work;
}

}  // namespace mlc::serve
