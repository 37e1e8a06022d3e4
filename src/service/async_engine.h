// An engine on a thread of its own: any thread hands requests in, and their updates come from that thread.
// This is what the HTTP server, Python and the JSON interface stand on. With nothing to do it sleeps.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>

#include "serve/engine.h"
#include "service/step_thread.h"

namespace mlc::serve {

class AsyncEngine {
 public:
  using Task = std::function<void(Engine&)>;

  // The model must outlive this, and belongs to its thread from now on.
  AsyncEngine(runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
              const EngineOptions& options = {});
  // Its end ends what still runs, with kAbort.

  // Runs `task` on the engine's thread between two steps, in the order of the calls; whatever changes the
  // engine goes through here. Never from a task's own wait for another. False after shutdown() or once the
  // engine is being destroyed: then it never runs.
  bool post(Task task);
  // A new id for a request.
  RequestId next_id() { return next_id_.fetch_add(1); }
  // Whether the engine would take this request, on the caller's thread.
  Status check(const Request& request) const { return engine_.check(request); }
  // Queues a request under a new id; its on_update is called on the engine's thread and must not block. What
  // check() refuses, and all after shutdown(), ends with an update of kError (there, or before this returns).
  RequestId submit(Request request);
  void abort(RequestId id);
  // Forgets all kept sequences.
  void reset();

  struct Load {
    size_t waiting = 0, running = 0;
  };
  // As of the last step.
  Load load() const;
  EngineMetrics metrics() const;
  // Refuses new requests, waits until those at work are done, and ends what still runs after `patience`.
  void shutdown(std::chrono::milliseconds patience) { thread_.shutdown(patience); }

 private:
  bool step();

  Engine engine_;
  std::atomic<RequestId> next_id_{0};
  mutable std::mutex mutex_;
  Load load_;
  EngineMetrics metrics_;
  StepThread thread_;  // last: it uses all of the above
};

}  // namespace mlc::serve
