// Opens models one after the other; each counts the memory of those before.
#include "apps/cli/served_models.h"

#include "apps/cli/commands.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

Result<std::unique_ptr<serve::openai::ServedModel>> open_model(const std::string& id, SessionFlags flags,
                                                               ServedOptions& options, ServedModels& served) {
  runtime::ModelLimits limits;
  flags.infer_limits = [&](const runtime::Module& module, const runtime::Device& device,
                           runtime::ModelLimits given) -> Result<runtime::ModelLimits> {
    ASSIGN_OR_RETURN(limits, infer_limits(options.limits, module, device, given));
    return limits;
  };
  ASSIGN_OR_RETURN(auto session, open_session(flags));
  if (session->model->is_encoder())
    return Status::error(str(session->name,
                             ": this model is an encoder: it writes no text, and embeddings are not "
                             "built yet; serve a model that generates"));
  options.limits.memory_used += session->model->memory().total();
  if (options.opened)
    options.opened(
        str(id, ": ", limits.max_sequences, " requests together, ", session->model->memory().text()));
  ASSIGN_OR_RETURN(auto model,
                   serve::openai::ServedModel::create(
                       id, *session->model, session->tokenizer, session->chat_template->conversation(),
                       session->generation_defaults(), engine_options(options.limits, limits.max_sequences)));
  served.sessions.push_back(std::move(session));
  served.limits.push_back(limits);
  return model;
}

}  // namespace

Status make_lora_room(LoraFlags& lora, int64_t slots, int64_t rank) {
  constexpr int64_t kRank = 16;
  const auto given = static_cast<int64_t>(lora.adapters.size());
  if (slots > 0 && slots < given)
    return Status::error(
        str("--max-loras: found ", slots, ", expected at least the ", given, " that --lora-adapter names"));
  lora.slots = slots;
  lora.rank = rank > 0 ? rank : slots > given ? kRank : 0;
  return Status::ok();
}

Result<std::unique_ptr<ServedModels>> open_models(ServedOptions options) {
  auto served = std::make_unique<ServedModels>();
  std::vector<std::unique_ptr<serve::openai::ServedModel>> models;
  const std::string& first = options.session.checkpoint.source.config;
  ASSIGN_OR_RETURN(auto model, open_model(first, options.session, options, *served));
  models.push_back(std::move(model));
  for (const std::string& text : options.additional_models) {
    SessionFlags more = options.session;
    const size_t comma = text.find(',');
    const std::string id = text.substr(0, comma);
    for (const auto& other : models)
      if (other->id() == id) return Status::error(str("--additional-models: ", id, " is served already"));
    more.checkpoint.source.config = id;
    more.lora.adapters.clear();
    more.model_lib = comma == std::string::npos ? "" : text.substr(comma + 1);
    ASSIGN_OR_RETURN(auto another, open_model(id, std::move(more), options, *served));
    models.push_back(std::move(another));
  }
  served->service = std::make_unique<serve::openai::Service>(std::move(models), options.api, print_note);
  return served;
}

}  // namespace mlc::cli
