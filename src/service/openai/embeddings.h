// /v1/embeddings: what a request asks for, the model that answers it, and the answer (mlc-facts 8.7).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chat/tokenizer/tokenizer.h"
#include "service/async_embedder.h"
#include "service/openai/reply.h"
#include "service/openai/request.h"

namespace mlc::serve::openai {

// A model that the API serves for embeddings.
class ServedEmbedder {
 public:
  // The model must outlive this.
  ServedEmbedder(std::string id, runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                 EmbeddingForm form);

  const std::string& id() const { return id_; }
  int64_t created() const { return created_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  AsyncEmbedder& engine() { return engine_; }
  const AsyncEmbedder& engine() const { return engine_; }

 private:
  std::string id_;
  int64_t created_ = 0;
  std::shared_ptr<const Tokenizer> tokenizer_;
  AsyncEmbedder engine_;
};

struct EmbeddingAsk {
  std::vector<std::vector<int32_t>> inputs;
  int64_t dimensions = 0;            // 0: all
  bool base64 = false;               // else a list of numbers
  std::vector<std::string> unknown;  // fields that were ignored
};

// Inputs are texts, with the tokens that the model's tokenizer puts around them, or token ids as they are.
// 400 naming the field, the input and what was expected.
ApiError parse_embeddings(const Json& object, const ServedEmbedder& model, const ApiLimits& limits,
                          EmbeddingAsk& ask);

// One request at work.
class EmbeddingCall : public std::enable_shared_from_this<EmbeddingCall> {
 public:
  // `id`: of no other call. `on_end` is called before the reply.
  EmbeddingCall(ServedEmbedder& model, EmbeddingAsk ask, CallId id, ReplyCallback reply,
                std::function<void()> on_end);
  void start();
  // Ends it; the reply comes nonetheless. Any thread.
  void cancel() { model_.engine().abort(id_); }

 private:
  void on_done(size_t input, Result<std::vector<float>> result);
  Json vector_json(std::vector<float> values) const;

  ServedEmbedder& model_;
  EmbeddingAsk ask_;
  CallId id_;
  ReplyCallback reply_;
  std::function<void()> on_end_;
  // The embedder's thread's.
  std::vector<std::vector<float>> results_;
  size_t done_ = 0;
  std::string problem_;
};

}  // namespace mlc::serve::openai
