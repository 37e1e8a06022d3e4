// The engine of models that give embeddings: texts in, a vector for each out. A step computes as many texts
// as it holds; a decoder's long text goes on in the next, an encoder's must fit into one.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/model.h"
#include "serve/embed/pooling.h"

namespace mlc::serve {

struct EmbeddingRequest {
  int64_t id = 0;  // of the call; several may share it
  std::vector<int32_t> tokens;
  // Called once, with [hidden] values or why there are none.
  std::function<void(Result<std::vector<float>>)> on_done;
};

class Embedder {
 public:
  // The model must outlive this. Precondition: it gives embeddings.
  Embedder(runtime::Model& model, EmbeddingForm form);

  // What add() would refuse: an empty or too long text (says how long it may be), ids outside of the
  // vocabulary. Any thread.
  Status check(std::span<const int32_t> tokens) const;
  int64_t most_tokens() const;  // of a text
  int64_t hidden_size() const { return model_.hidden_size(); }
  const EmbeddingForm& form() const { return form_; }

  // Precondition: check() is ok.
  void add(EmbeddingRequest request);
  // Ends the requests of an id; their on_done is told so.
  void abort(int64_t id);
  void abort_all();
  // Runs one step; false when nothing is left to do.
  bool step();

  size_t waiting() const { return waiting_.size(); }
  size_t running() const { return running_.size(); }
  int64_t steps() const { return steps_; }
  int64_t computed_tokens() const { return computed_; }

 private:
  struct Text {
    EmbeddingRequest request;
    runtime::SequenceId sequence = -1;
    size_t computed = 0;
    Pooler pooler;
    bool ended = false;
  };

  void admit();
  std::vector<runtime::StepSequence> build(std::vector<Text*>& texts);
  void end(Text& text, Result<std::vector<float>> result);
  void retire();

  runtime::Model& model_;
  EmbeddingForm form_;
  std::deque<EmbeddingRequest> waiting_;
  std::vector<std::unique_ptr<Text>> running_;
  runtime::SequenceId next_sequence_ = 0;
  int64_t steps_ = 0, computed_ = 0;
};

}  // namespace mlc::serve
