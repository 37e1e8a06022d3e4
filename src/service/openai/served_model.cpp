// Models behind the API.
#include "service/openai/served_model.h"

#include <ctime>

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

constexpr const char* kShutDown = "the server is shutting down and takes no more requests; try again later";

}  // namespace

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
  for (const std::string& name : model.adapters().names()) served->adapters_[name] = served->created_;
  served->tokenizer_ = tokenizer;
  served->grammars_ = std::make_unique<const GrammarCompiler>(tokenizer);
  served->defaults_ = std::move(defaults);
  served->engine_ = std::make_unique<AsyncEngine>(model, std::move(tokenizer), options);
  return served;
}

std::map<std::string, int64_t> ServedModel::adapters() const {
  std::lock_guard lock(mutex_);
  return adapters_;
}

bool ServedModel::has_adapter(const std::string& name) const {
  std::lock_guard lock(mutex_);
  return adapters_.contains(name);
}

std::string ServedModel::listed_adapters() const {
  std::vector<std::string> names;
  for (const auto& [name, created] : adapters()) names.push_back(name);
  return names.empty() ? "there is none" : "there are: " + join(names, ", ");
}

void ServedModel::load_adapter(const std::string& name, const std::string& folder, Done done) {
  const bool posted = engine_->post([this, name, folder, done](Engine& engine) {
    const Status loaded = engine.load_adapter(name, folder);
    if (loaded.is_ok()) {
      std::lock_guard lock(mutex_);
      adapters_[name] = std::time(nullptr);
    }
    done(loaded);
  });
  if (!posted) done(Status::error(kShutDown));
}

void ServedModel::unload_adapter(const std::string& name, Done done) {
  const bool posted = engine_->post([this, name, done](Engine& engine) {
    const Status unloaded = engine.unload_adapter(name);
    if (unloaded.is_ok()) {
      std::lock_guard lock(mutex_);
      adapters_.erase(name);
    }
    done(unloaded);
  });
  if (!posted) done(Status::error(kShutDown));
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
