// The engine's step.
#include "serve/engine.h"

#include "base/strings.h"
#include "serve/scheduler.h"

namespace mlc::serve {

Engine::Engine(runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
               const EngineOptions& options)
    : state_(model, std::move(tokenizer), options) {}

Status Engine::check(const Request& request) const {
  if (state_.model.gives_embeddings())
    return Status::error("this model gives embeddings, no text; use a model that generates");
  RETURN_IF_ERROR(request.config.validate());
  int64_t length = static_cast<int64_t>(request.prompt.size()), context = state_.model.context_tokens();
  if (length == 0) return Status::error("prompt: it is empty, expected at least one token");
  if (length >= context)
    return Status::error(str("Request prompt has ", length,
                             " tokens in total, larger than the model input length limit ", context - 1,
                             "; shorten it or raise context_window_size"));
  for (int32_t token : request.prompt)
    if (token < 0 || token >= state_.model.vocab_size())
      return Status::error(
          str("prompt: token ", token, " is outside of the vocabulary of ", state_.model.vocab_size()));
  for (const auto& [token, bias] : request.config.logit_bias)
    if (token < 0 || token >= state_.model.vocab_size())
      return Status::error(
          str("logit_bias: token ", token, " is outside of the vocabulary of ", state_.model.vocab_size()));
  return Status::ok();
}

Status Engine::add_request(Request request) {
  RETURN_IF_ERROR(check(request));
  const runtime::Adapters& adapters = state_.model.adapters();
  const int32_t adapter = adapters.find(request.adapter);
  if (!request.adapter.empty() && adapter < 0)
    return Status::error(str("adapter: '", request.adapter, "' is not loaded; ", adapters.listed()));
  std::unique_ptr<Constraint> constraint;
  if (request.config.grammar) {
    ASSIGN_OR_RETURN(constraint, Constraint::start(request.config));
  }
  state_.waiting.push_back(std::make_unique<RequestState>(std::move(request), state_.tokenizer));
  state_.waiting.back()->adapter = adapter;
  state_.waiting.back()->constraint = std::move(constraint);
  return Status::ok();
}

Status Engine::load_adapter(const std::string& name, const std::string& folder) {
  return state_.model.adapters().load(name, folder).status();
}

Status Engine::unload_adapter(const std::string& name) {
  runtime::Adapters& adapters = state_.model.adapters();
  const int32_t adapter = adapters.find(name);
  int64_t users = 0;
  for (const auto& r : state_.running) users += r->adapter == adapter;
  for (const auto& r : state_.waiting) users += r->adapter == adapter;
  if (adapter >= 0 && users > 0)
    return Status::error(str("adapter: '", name, "' is used by ", users,
                             users == 1 ? " request" : " requests", "; wait for the end, or abort them"));
  if (adapter >= 0) state_.prefixes.forget_adapter(state_.model.sequences(), adapter);
  return adapters.unload(name);
}

void Engine::abort(RequestId id) {
  for (auto& r : state_.running)
    if (r->request.id == id) state_.end(*r, FinishReason::kAbort);
  for (auto& r : state_.waiting)
    if (r->request.id == id) state_.end(*r, FinishReason::kAbort);
  if (std::erase_if(state_.waiting, [](const auto& r) { return r->finish != FinishReason::kNone; }) > 0)
    state_.admits = true;  // the next may need less
  state_.retire();
}

void Engine::abort_all() {
  for (auto& r : state_.running) state_.end(*r, FinishReason::kAbort);
  for (auto& r : state_.waiting) state_.end(*r, FinishReason::kAbort);
  state_.waiting.clear();
  state_.retire();
}

StepOutcome Engine::poll_step() {
  if (!state_.step) {
    if (!schedule(state_)) return StepOutcome::kIdle;
    if (!state_.step) return StepOutcome::kProgressed;  // it failed, or requests ended
  }
  return state_.poll() ? StepOutcome::kProgressed : StepOutcome::kPending;
}

bool Engine::step() {
  for (;;) {
    const StepOutcome outcome = poll_step();
    if (outcome != StepOutcome::kPending) return outcome == StepOutcome::kProgressed;
    state_.wait();
    if (!state_.step) return true;  // it failed
  }
}

void Engine::reset() {
  state_.prefixes.clear(state_.model.sequences());
  if (state_.drafter) state_.drafter->clear();
}

const RequestState* Engine::find(RequestId id) const {
  for (auto& r : state_.running)
    if (r->request.id == id) return r.get();
  for (auto& r : state_.waiting)
    if (r->request.id == id) return r.get();
  return nullptr;
}

}  // namespace mlc::serve
