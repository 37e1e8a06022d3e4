// The engine behind Python's classes: opened from settings, asked in JSON, answered through queues. Nothing
// here knows of Python; no thread but the caller's own ever needs the interpreter's lock.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/served_models.h"
#include "base/json.h"

namespace mlc::python {

struct Answer {
  int64_t key = 0;  // the caller's name of the request
  serve::openai::Reply reply;
};

// Replies of any number of requests, in the order they came. Any thread.
class ReplyQueue {
 public:
  void put(int64_t key, const serve::openai::Reply& reply);
  // Everything that has come; where nothing has, waits for the first until `patience` is over or the queue is
  // closed. Empty then.
  std::vector<Answer> take(std::chrono::milliseconds patience);
  // Ends every wait, now and later; what has come can still be taken.
  void close();
  bool closed() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Answer> answers_;
  bool closed_ = false;
};

// The methods may be called from any thread. After terminate() all of them throw UserError but terminate()
// and cancel(), which do nothing.
class Engine {
 public:
  // {"model", "device", "model_lib", "mode", "opt", "overrides": "key=value;...", "additional_models": [...],
  // "speculative_mode": "disable", "ngram", "small_draft" or "medusa", "lora_adapters": {name: folder},
  // "max_loras", "max_lora_rank", "pooling": "cls", "mean" or "last",
  // "verbose"}, all but the first optional. Throws UserError.
  explicit Engine(const Json& settings);
  ~Engine() { terminate(); }

  // A POST of `body` to `path` (service/openai/service.h); its replies go to the queue under `key`. Returns
  // the call's number, for cancel().
  int64_t submit(std::string_view path, std::string_view body, std::shared_ptr<ReplyQueue> queue,
                 int64_t key);
  void cancel(int64_t call);
  serve::openai::Reply get(std::string_view path);
  // {"models": [{"id", "device", "max_num_sequence", "max_total_sequence_length",
  // "max_single_sequence_length" (-1: no end), "prefill_chunk_size", "generation": {...}}]}
  const Json& description() const { return description_; }
  // Ends what runs, with its last replies, and frees the models.
  void terminate();

 private:
  std::shared_ptr<cli::ServedModels> served() const;

  mutable std::mutex mutex_;
  std::shared_ptr<cli::ServedModels> served_;
  Json description_;
};

// Runs a command in this process as run_command_line does, with the signals' handlers put back afterwards.
int run_command(const std::vector<std::string>& arguments);

}  // namespace mlc::python
