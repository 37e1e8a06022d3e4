// A draft head ready to run (medusa): library and weights on a device. Of a model's last hidden states it
// makes, each apart from the others, the logits of several tokens in a row; it keeps nothing between calls.
// Threads: one at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "runtime/weights.h"

namespace mlc::runtime {

class HeadModel {
 public:
  // Whether a library is of a draft head.
  static bool is_head(const Module& module);
  // For calls of at most `max_rows` states. Errors: the library is no draft head's; weights that do not fit
  // it; not enough memory.
  static Result<std::unique_ptr<HeadModel>> load(Device& device, std::shared_ptr<Module> module,
                                                 const std::string& weights_folder, int64_t max_rows,
                                                 const LoadProgress& progress = {});

  int64_t heads() const { return heads_; }
  int64_t hidden_size() const { return hidden_size_; }
  int64_t vocab_size() const { return vocab_size_; }
  int64_t max_rows() const { return max_rows_; }
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t memory_bytes() const {
    return weight_bytes_ + executor_->arena_bytes_held() + hidden_.bytes() + logits_.bytes();
  }

  // Begins a call. hidden: [rows, hidden_size()]. Precondition: none is running.
  Status begin(std::span<const float> hidden);
  // Whether it is done. Never waits. An error ends it.
  Result<bool> poll();
  Status wait();
  // What the last call gave for a row: [vocab_size()] of head 0, which guesses the token after the next one,
  // and so on. Lives until the next call begins.
  std::span<const float> logits(int64_t head, int64_t row) const;

 private:
  HeadModel() = default;
  Status read_shape();
  Status allocate();
  int64_t stride(int64_t rows) const;  // bytes from a head's logits to the next one's

  Device* device_ = nullptr;
  std::unique_ptr<WeightBuffers> weights_;
  std::unique_ptr<Executor> executor_;
  int64_t heads_ = 0, hidden_size_ = 0, vocab_size_ = 0, max_rows_ = 0, weight_bytes_ = 0;
  OwnedBuffer hidden_, logits_;
  std::vector<float> host_logits_;
  int64_t rows_ = 0;
  bool running_ = false;
};

}  // namespace mlc::runtime
