// An embedder on a thread of its own, as AsyncEngine is for text: any thread hands texts in. With nothing to
// do it sleeps.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "serve/embed/embedder.h"

namespace mlc::serve {

class AsyncEmbedder {
 public:
  // The model must outlive this, and belongs to its thread from now on.
  AsyncEmbedder(runtime::Model& model, EmbeddingForm form);
  // Ends what still runs.
  ~AsyncEmbedder();

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
  void shutdown(std::chrono::milliseconds patience);

 private:
  using Task = std::function<void(Embedder&)>;
  bool post(Task task);
  void run();

  Embedder embedder_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<Task> tasks_;
  bool closed_ = false, stop_ = false, busy_ = false;
  Load load_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace mlc::serve
