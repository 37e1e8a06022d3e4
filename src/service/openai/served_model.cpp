// Models behind the API.
#include "service/openai/served_model.h"

#include <ctime>

namespace mlc::serve::openai {

Result<std::unique_ptr<ServedModel>> ServedModel::create(std::string id, runtime::Model& model,
                                                         std::shared_ptr<const Tokenizer> tokenizer,
                                                         const Conversation& conversation,
                                                         GenerationConfig defaults,
                                                         const EngineOptions& options) {
  // Its errors go to whoever sent the messages.
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::create(conversation, "messages"));
  std::unique_ptr<ServedModel> served(new ServedModel(std::move(id), std::move(chat_template)));
  served->created_ = std::time(nullptr);
  served->context_tokens_ = model.context_tokens();
  served->tokenizer_ = tokenizer;
  served->grammars_ = std::make_unique<const GrammarCompiler>(tokenizer);
  served->defaults_ = std::move(defaults);
  served->engine_ = std::make_unique<AsyncEngine>(model, std::move(tokenizer), options);
  return served;
}

void ServedModel::count(const StreamUpdate& finished, double seconds) {
  std::lock_guard lock(mutex_);
  counters_.prompt_tokens += finished.metrics.prompt_tokens;
  counters_.completion_tokens += finished.metrics.completion_tokens;
  if (finished.metrics.prefilled_tokens > 0)  // else it ended before it began
    counters_.cached_tokens += finished.metrics.prompt_tokens - finished.metrics.prefilled_tokens;
  counters_.last = finished.metrics;
  counters_.last_seconds = seconds;
  counters_.finished_by_reason[static_cast<size_t>(finished.finish)]++;
}

RequestCounters ServedModel::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace mlc::serve::openai
