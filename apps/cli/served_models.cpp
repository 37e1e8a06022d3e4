// Opens models one after the other; each counts the memory of those before.
#include "apps/cli/served_models.h"

#include <algorithm>

#include "apps/cli/commands.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

using serve::openai::ServedEmbedder;
using serve::openai::ServedModel;

struct Opened {
  std::vector<std::unique_ptr<ServedModel>> models;
  std::vector<std::unique_ptr<ServedEmbedder>> embedders;
};

bool gives_embeddings(const runtime::Module& module) {
  return find_string(module.manifest(), "model_task") == "embedding";
}

// As many texts together as the library takes, and memory for one step beside a text that goes on.
Result<runtime::ModelLimits> embedding_limits(const ServeLimits& wanted, const runtime::Module& module,
                                              runtime::ModelLimits limits) {
  limits.max_sequences =
      wanted.max_num_sequence.value_or(find_int(module.manifest(), "max_batch_size").value_or(1));
  ASSIGN_OR_RETURN(const runtime::ModelLimits whole, runtime::complete(limits, module));
  limits.total_tokens = wanted.max_total_seq_length.value_or(whole.context_tokens + whole.prefill_chunk);
  limits.context_tokens = std::min(whole.context_tokens, limits.total_tokens);
  return limits;
}

Result<std::unique_ptr<ServedEmbedder>> open_embedder(const std::string& id, const Session& session,
                                                      const std::string& pooling) {
  ASSIGN_OR_RETURN(serve::EmbeddingForm form,
                   serve::embedding_form(session.config, session.model->is_encoder(), session.name));
  if (!pooling.empty()) {
    ASSIGN_OR_RETURN(form.pooling, serve::parse_pooling(pooling, "--pooling"));
  }
  return std::make_unique<ServedEmbedder>(id, *session.model, session.tokenizer, form);
}

// A model beside the first.
struct Another {
  std::string model, library;  // library "": none
};

// MODEL or MODEL,LIBRARY
Another split_model(const std::string& text) {
  const size_t comma = text.find(',');
  return {text.substr(0, comma), comma == std::string::npos ? "" : text.substr(comma + 1)};
}

// All but its name, library and adapters are the first one's.
SessionFlags flags_of(const Another& another, const SessionFlags& first) {
  SessionFlags flags = first;
  flags.checkpoint.source.config = another.model;
  flags.model_lib = another.library;
  flags.lora.adapters.clear();
  return flags;
}

// The model that drafts. It is opened before the one that it drafts for, which may then take what memory is
// left; the tokens of a draft take a quarter of it at most.
Status open_draft(ServedOptions& options, ServedModels& served) {
  SessionFlags flags = flags_of(split_model(options.additional_models[0]), options.session);
  flags.lora = {};
  runtime::ModelLimits limits;
  const std::string& name = flags.checkpoint.source.config;
  flags.infer_limits = [&](const runtime::Module& module, const runtime::Device& device,
                           runtime::ModelLimits given) -> Result<runtime::ModelLimits> {
    if (gives_embeddings(module))
      return Status::error(str("--additional-models: ", name,
                               " gives embeddings and writes no text; name a smaller model that writes"));
    ServeLimits wanted = options.limits;
    wanted.speculative_mode = serve::SpeculativeMode::kDisable;
    wanted.memory_part = 4;
    ASSIGN_OR_RETURN(limits, infer_limits(wanted, module, device, given));
    return limits;
  };
  ASSIGN_OR_RETURN(served.draft, open_session(flags));
  options.session.shared_device = served.draft->device;
  options.limits.memory_used += served.draft->model->memory().total();
  if (options.opened) options.opened(str(name, ": drafts, ", served.draft->model->memory().text()));
  return Status::ok();
}

// The head that drafts, opened before its model as a draft model is.
Status open_draft_head(ServedOptions& options, ServedModels& served) {
  SessionFlags flags = flags_of(split_model(options.additional_models[0]), options.session);
  const ServeLimits& limits = options.limits;
  const int64_t rows = limits.mode == "interactive" ? 1 : limits.mode == "local" ? 4 : 0;
  auto opened = open_heads(flags, limits.max_num_sequence.value_or(rows));
  if (!opened.is_ok()) return Status::error("--additional-models: " + opened.status().message());
  served.heads = std::move(opened).value();
  options.session.shared_device = served.heads->device;
  const runtime::HeadModel& heads = *served.heads->heads;
  options.limits.draft_heads = heads.heads();
  options.limits.memory_used += heads.memory_bytes();
  if (options.opened)
    options.opened(str(flags.checkpoint.source.config, ": drafts with ", heads.heads(), " heads, ",
                       human_bytes(static_cast<double>(heads.memory_bytes()))));
  return Status::ok();
}

// The model or head that drafts; false where none is to.
Result<bool> open_drafter(ServedOptions& options, ServedModels& served) {
  const serve::SpeculativeMode mode = options.limits.speculative_mode;
  const bool heads = mode == serve::SpeculativeMode::kMedusa;
  if (!heads && mode != serve::SpeculativeMode::kSmallDraft) return false;
  if (options.additional_models.size() != 1)
    return Status::error(
        str("--additional-models: ", heads ? "medusa wants one head" : "small_draft wants one model",
            " that drafts, found ", options.additional_models.size()));
  RETURN_IF_ERROR(heads ? open_draft_head(options, served) : open_draft(options, served));
  return true;
}

// What a model's engine is started with.
Result<serve::EngineOptions> options_of(const ServedOptions& options, const ServedModels& served,
                                        const Session& session, int64_t max_sequences) {
  serve::EngineOptions engine = engine_options(options.limits, max_sequences);
  engine.note = print_note;
  if (!served.draft && !served.heads) return engine;
  const std::string what = "--additional-models: " + split_model(options.additional_models[0]).model;
  if (served.heads) {
    RETURN_IF_ERROR(serve::check_heads(*session.model, *served.heads->heads, what));
    engine.heads = served.heads->heads.get();
    return engine;
  }
  RETURN_IF_ERROR(serve::check_draft(*session.model, *session.tokenizer, *served.draft->model,
                                     *served.draft->tokenizer, what));
  engine.draft = served.draft->model.get();
  return engine;
}

Status open_model(const std::string& id, SessionFlags flags, ServedOptions& options, ServedModels& served,
                  Opened& opened) {
  runtime::ModelLimits limits;
  flags.infer_limits = [&](const runtime::Module& module, const runtime::Device& device,
                           runtime::ModelLimits given) -> Result<runtime::ModelLimits> {
    ASSIGN_OR_RETURN(limits, gives_embeddings(module) ? embedding_limits(options.limits, module, given)
                                                      : infer_limits(options.limits, module, device, given));
    return limits;
  };
  ASSIGN_OR_RETURN(auto session, open_session(flags));
  options.limits.memory_used += session->model->memory().total();
  const bool embeds = session->model->gives_embeddings();
  if (options.opened)
    options.opened(str(id, ": ", limits.max_sequences, embeds ? " texts" : " requests", " together, ",
                       session->model->memory().text()));
  if (embeds && (served.draft || served.heads) && served.sessions.empty())
    return Status::error(
        str("--speculative-mode: ", id, " gives embeddings and writes no text, expected disable"));
  if (embeds) {
    ASSIGN_OR_RETURN(auto embedder, open_embedder(id, *session, options.pooling));
    opened.embedders.push_back(std::move(embedder));
  } else {
    ASSIGN_OR_RETURN(serve::EngineOptions engine,
                     options_of(options, served, *session, limits.max_sequences));
    ASSIGN_OR_RETURN(auto model, ServedModel::create(id, *session->model, session->tokenizer,
                                                     session->chat_template->conversation(),
                                                     session->generation_defaults(), engine));
    opened.models.push_back(std::move(model));
  }
  served.sessions.push_back(std::move(session));
  served.limits.push_back(limits);
  return Status::ok();
}

Status open_another(const char* flag, const Another& another, ServedOptions& options, ServedModels& served,
                    Opened& opened) {
  const std::string& id = another.model;
  SessionFlags flags = flags_of(another, options.session);
  flags.shared_device.reset();  // it is stepped by a thread of its own
  for (const auto& other : opened.models)
    if (other->id() == id) return Status::error(str(flag, ": ", id, " is served already"));
  for (const auto& other : opened.embedders)
    if (other->id() == id) return Status::error(str(flag, ": ", id, " is served already"));
  return open_model(id, std::move(flags), options, served, opened);
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
  if (options.embedding_model.empty() && !options.embedding_model_lib.empty())
    return Status::error("--embedding-model-lib: found without --embedding-model; name the model too");
  auto served = std::make_unique<ServedModels>();
  Opened opened;
  ASSIGN_OR_RETURN(const bool drafts, open_drafter(options, *served));
  RETURN_IF_ERROR(
      open_model(options.session.checkpoint.source.config, options.session, options, *served, opened));
  if (!drafts)
    for (const std::string& text : options.additional_models)
      RETURN_IF_ERROR(open_another("--additional-models", split_model(text), options, *served, opened));
  if (!options.embedding_model.empty()) {
    const size_t before = opened.embedders.size();
    RETURN_IF_ERROR(open_another("--embedding-model", {options.embedding_model, options.embedding_model_lib},
                                 options, *served, opened));
    if (opened.embedders.size() == before)
      return Status::error(str("--embedding-model: ", options.embedding_model,
                               " writes text and gives no embeddings; name it with --additional-models"));
  }
  if (!options.pooling.empty() && opened.embedders.empty())
    return Status::error("--pooling: no model here gives embeddings; name one with --embedding-model");
  served->service = std::make_unique<serve::openai::Service>(std::move(opened.models), options.api,
                                                             print_note, std::move(opened.embedders));
  return served;
}

}  // namespace mlc::cli
