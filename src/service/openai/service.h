// The API of served models without a transport: paths and JSON in, JSON out. HTTP, Python and the JSON
// interface of other languages stand on it.
//
// POST: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, /v1/messages (Anthropic's),
// /tokenize, /detokenize, with limits.lora_loading /v1/load_lora_adapter and /v1/unload_lora_adapter
// (vLLM's), and with limits.debug /debug/...; GET: /v1/models, /v1/models/ID, /metrics, /health.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "service/openai/call.h"
#include "service/openai/embeddings.h"

namespace mlc::serve::openai {

class Service {
 public:
  // At least one model of either kind; ids are different. `note` is told once of each unknown field that
  // requests have; may be null.
  Service(std::vector<std::unique_ptr<ServedModel>> models, ApiLimits limits,
          std::function<void(const std::string&)> note = {},
          std::vector<std::unique_ptr<ServedEmbedder>> embedders = {});

  // Answers a POST of `body` to `path` through `reply`. Any thread. The work until the engine has the request
  // (reading, tokenizing) is done before it returns.
  CallId submit(std::string_view path, std::string_view body, ReplyCallback reply);
  // Ends a call; its last reply comes nonetheless. Calls that have ended are ignored. Any thread.
  void cancel(CallId id);
  // Answers a GET.
  Reply get(std::string_view path);
  bool knows(std::string_view path) const;

  // Calls at work.
  size_t active() const;
  // Refuses new requests, waits until those at work are done, and ends what still runs after `patience`.
  void shutdown(std::chrono::milliseconds patience);

  const ApiLimits& limits() const { return limits_; }
  ServedModel& first_model() { return *models_.front(); }

 private:
  using Handler = void (Service::*)(const Json& body, CallId id, const ReplyCallback& reply);
  static const std::map<std::string_view, Handler>& handlers();

  using Parse = ApiError (*)(const Json&, const RequestContext&, CompletionCall&);
  // What is wrong with it; then `reply` was not called.
  ApiError start(Parse parse, const Json& body, CallId id, const ReplyCallback& reply);
  template <Parse parse>
  void complete(const Json& body, CallId id, const ReplyCallback& reply);
  void respond(const Json& body, CallId id, const ReplyCallback& reply);
  void message(const Json& body, CallId id, const ReplyCallback& reply);
  void tokenize(const Json& body, CallId id, const ReplyCallback& reply);
  void detokenize(const Json& body, CallId id, const ReplyCallback& reply);
  void embed(const Json& body, CallId id, const ReplyCallback& reply);
  void load_adapter(const Json& body, CallId id, const ReplyCallback& reply);
  void unload_adapter(const Json& body, CallId id, const ReplyCallback& reply);
  void debug_metrics(const Json& body, CallId id, const ReplyCallback& reply);
  void debug_reset(const Json& body, CallId id, const ReplyCallback& reply);
  void debug_unbuilt(const Json& body, CallId id, const ReplyCallback& reply);

  // What a request names. One model answers to any name; of several, and of an adapter, there must be one of
  // that name. An adapter is named ID:ADAPTER, or alone.
  struct Named {
    ServedModel* model = nullptr;
    std::string adapter;  // "": none
  };
  ApiError find_model(const Json& body, Named& named);
  ApiError find_embedder(const Json& body, ServedEmbedder*& model);
  void begin(CallId id, std::function<void()> cancel);
  std::function<void()> at_end(CallId id);
  RequestContext context(ServedModel& model) const;
  Reply models_reply(std::string_view id) const;
  void note_unknown(const std::vector<std::string>& fields);

  ApiLimits limits_;
  std::function<void(const std::string&)> note_;
  mutable std::mutex mutex_;
  std::map<CallId, std::function<void()>> calls_;  // what cancels each
  std::set<std::string> noted_;
  std::atomic<CallId> next_call_{0};
  std::vector<std::unique_ptr<ServedModel>> models_;  // last: their threads use the above
  std::vector<std::unique_ptr<ServedEmbedder>> embedders_;
};

}  // namespace mlc::serve::openai
