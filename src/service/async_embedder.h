// An embedder on a thread of its own, as AsyncEngine is for text: any thread hands texts in. With nothing to
// do it sleeps.
#pragma once

#include <chrono>
#include <mutex>
#include <vector>

#include "serve/embed/embedder.h"
#include "service/step_thread.h"

namespace mlc::serve {

class AsyncEmbedder {
 public:
  // The model must outlive this, and belongs to its thread from now on. Its end ends what still runs.
  AsyncEmbedder(runtime::Model& model, EmbeddingForm form);

  // Embedder's, of any thread.
  Status check(std::span<const int32_t> tokens) const { return embedder_.check(tokens); }
  int64_t most_tokens() const { return embedder_.most_tokens(); }
  int64_t hidden_size() const { return embedder_.hidden_size(); }
  const EmbeddingForm& form() const { return embedder_.form(); }

  // Queues texts, all of them before others'. Their on_done comes on the embedder's thread and must not
  // block. False after shutdown(): then it never comes.
  bool submit(std::vector<EmbeddingRequest> requests);
  void abort(int64_t id);

  struct Load {
    size_t waiting = 0, running = 0;
    int64_t steps = 0, tokens = 0;  // so far
  };
  // As of the last step.
  Load load() const;
  // Refuses new texts, waits until those at work are done, and ends what still runs after `patience`.
  void shutdown(std::chrono::milliseconds patience) { thread_.shutdown(patience); }

 private:
  bool step();

  Embedder embedder_;
  mutable std::mutex mutex_;
  Load load_;
  StepThread thread_;  // last: it uses all of the above
};

}  // namespace mlc::serve
