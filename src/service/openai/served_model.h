// A model that the API serves: its name, how it is spoken to, and the engine that runs it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "chat/grammar/grammar.h"
#include "chat/template/chat_template.h"
#include "service/async_engine.h"

namespace mlc::serve::openai {

// What finished requests add up to.
struct RequestCounters {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
  RequestMetrics last;                 // of the request that finished last
  double last_seconds = 0;             // from its arrival to its end
  int64_t finished_by_reason[6] = {};  // [FinishReason]
};

class ServedModel {
 public:
  // The model must outlive this; adapters that it holds already can be named. `defaults`: settings of
  // requests that say nothing, with the model's stops. Errors: a chat template that cannot be parsed.
  static Result<std::unique_ptr<ServedModel>> create(std::string id, runtime::Model& model,
                                                     std::shared_ptr<const Tokenizer> tokenizer,
                                                     const Conversation& conversation,
                                                     GenerationConfig defaults, const EngineOptions& options);

  const std::string& id() const { return id_; }
  int64_t created() const { return created_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ChatTemplate& chat_template() const { return chat_template_; }
  const GenerationConfig& defaults() const { return defaults_; }
  const GrammarCompiler& grammars() const { return *grammars_; }
  int64_t context_tokens() const { return context_tokens_; }
  AsyncEngine& engine() { return *engine_; }

  // What answers call the model: "ID", or "ID:ADAPTER".
  std::string name_of(const std::string& adapter) const {
    return adapter.empty() ? id_ : id_ + ":" + adapter;
  }
  // LoRA adapters that requests may name: when each was loaded, in seconds since 1970. Any thread.
  std::map<std::string, int64_t> adapters() const;
  bool has_adapter(const std::string& name) const;
  // "there is none" or "there are: a, b", for sentences.
  std::string listed_adapters() const;
  // Engine::load_adapter and unload_adapter between two steps; `done` is told the outcome, on the engine's
  // thread, or at once where the engine takes no more work.
  using Done = std::function<void(const Status&)>;
  void load_adapter(const std::string& name, const std::string& folder, Done done);
  void unload_adapter(const std::string& name, Done done);

  void count(const StreamUpdate& finished, double seconds);
  RequestCounters counters() const;

 private:
  ServedModel(std::string id, ChatTemplate chat_template)
      : id_(std::move(id)), chat_template_(std::move(chat_template)) {}

  std::string id_;
  int64_t created_ = 0, context_tokens_ = 0;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate chat_template_;
  std::unique_ptr<const GrammarCompiler> grammars_;
  GenerationConfig defaults_;
  mutable std::mutex mutex_;
  RequestCounters counters_;
  std::map<std::string, int64_t> adapters_;
  std::unique_ptr<AsyncEngine> engine_;  // last: its updates use the rest
};

}  // namespace mlc::serve::openai
