// Which path does what.
#include "service/openai/service.h"

#include "base/strings.h"
#include "service/openai/fields.h"
#include "service/openai/messages.h"
#include "service/openai/metrics.h"
#include "service/openai/tools.h"
#include "service/openai/translate.h"

namespace mlc::serve::openai {
namespace {

Reply not_found(std::string_view path) {
  return error_reply({.status = 404,
                      .message = str(path,
                                     ": no such path; this server has /v1/chat/completions, "
                                     "/v1/completions, /v1/embeddings, /v1/responses, /v1/messages, "
                                     "/v1/models, /tokenize, /detokenize, /metrics and "
                                     "/health"),
                      .param = "",
                      .code = ""});
}

Json length_json(const ServedModel& model) {
  return model.context_tokens() == INT64_MAX ? Json(nullptr) : Json(model.context_tokens());
}

// Of a model and the adapters that it may be asked with.
void add_models(const ServedModel& model, Json& list) {
  const Json base = {{"id", model.id()},
                     {"created", model.created()},
                     {"object", "model"},
                     {"owned_by", "MLC-LLM"},
                     {"max_model_len", length_json(model)}};
  list.push_back(base);
  for (const auto& [adapter, created] : model.adapters()) {
    Json tuned = base;
    tuned["id"] = model.name_of(adapter);
    tuned["created"] = created;
    tuned["parent"] = model.id();
    list.push_back(std::move(tuned));
  }
}

}  // namespace

const std::map<std::string_view, Service::Handler>& Service::handlers() {
  static const std::map<std::string_view, Handler> kHandlers = {
      {"/debug/cuda_profiler_start", &Service::debug_unbuilt},
      {"/debug/cuda_profiler_stop", &Service::debug_unbuilt},
      {"/debug/dump_engine_metrics", &Service::debug_metrics},
      {"/debug/dump_event_trace", &Service::debug_unbuilt},
      {"/debug/reset_engine", &Service::debug_reset},
      {"/detokenize", &Service::detokenize},
      {"/tokenize", &Service::tokenize},
      {"/v1/chat/completions", &Service::complete<parse_chat>},
      {"/v1/completions", &Service::complete<parse_completion>},
      {"/v1/embeddings", &Service::embed},
      {"/v1/load_lora_adapter", &Service::load_adapter},
      {"/v1/messages", &Service::message},
      {"/v1/responses", &Service::respond},
      {"/v1/unload_lora_adapter", &Service::unload_adapter},
  };
  return kHandlers;
}

Service::Service(std::vector<std::unique_ptr<ServedModel>> models, ApiLimits limits,
                 std::function<void(const std::string&)> note,
                 std::vector<std::unique_ptr<ServedEmbedder>> embedders)
    : limits_(limits), note_(std::move(note)), models_(std::move(models)), embedders_(std::move(embedders)) {
  internal_check(!models_.empty() || !embedders_.empty(), "a service without models");
}

bool Service::knows(std::string_view path) const {
  return handlers().contains(path) && (limits_.debug || !path.starts_with("/debug/"));
}

CallId Service::submit(std::string_view path, std::string_view body, ReplyCallback reply) {
  const CallId id = next_call_.fetch_add(1);
  if (!knows(path)) {
    reply(not_found(path));
    return id;
  }
  Json object;
  const bool bare = path.starts_with("/debug/") && trim(body).empty();
  if (ApiError error = parse_body(bare ? "{}" : body, object); error.is_error()) {
    reply(error_reply(error));
    return id;
  }
  (this->*handlers().at(path))(object, id, reply);
  return id;
}

ApiError Service::start(Parse parse, const Json& body, CallId id, const ReplyCallback& reply) {
  Named named;
  CompletionCall asked;
  ApiError error = find_model(body, named);
  if (!error.is_error()) error = parse(body, context(*named.model), asked);
  if (error.is_error()) return error;
  note_unknown(asked.unknown);
  asked.adapter = named.adapter;
  auto call = std::make_shared<Call>(*named.model, std::move(asked), reply, at_end(id));
  if (error = call->check(); error.is_error()) return error;
  begin(id, [call] { call->cancel(); });
  call->start();
  return {};
}

template <Service::Parse parse>
void Service::complete(const Json& body, CallId id, const ReplyCallback& reply) {
  if (ApiError error = start(parse, body, id, reply); error.is_error()) reply(error_reply(error));
}

void Service::begin(CallId id, std::function<void()> cancel) {
  std::lock_guard lock(mutex_);
  calls_[id] = std::move(cancel);
}

std::function<void()> Service::at_end(CallId id) {
  return [this, id] {
    std::function<void()> ended;  // what it holds goes without the lock
    std::lock_guard lock(mutex_);
    if (auto it = calls_.find(id); it != calls_.end()) {
      ended = std::move(it->second);
      calls_.erase(it);
    }
  };
}

void Service::respond(const Json& body, CallId id, const ReplyCallback& reply) {
  Json chat;
  ApiError error = responses_to_chat(body, chat);
  if (!error.is_error()) error = responses_error(start(parse_chat, chat, id, responses_reply(body, reply)));
  if (error.is_error()) reply(error_reply(error));
}

void Service::message(const Json& body, CallId id, const ReplyCallback& reply) {
  const ReplyCallback translated = messages_reply(reply);
  Json chat;
  ApiError error = messages_to_chat(body, chat);
  if (!error.is_error()) error = messages_error(start(parse_chat, chat, id, translated));
  if (error.is_error()) translated(error_reply(error));
}

void Service::cancel(CallId id) {
  std::function<void()> cancel_call;
  {
    std::lock_guard lock(mutex_);
    if (auto it = calls_.find(id); it != calls_.end()) cancel_call = it->second;
  }
  if (cancel_call) cancel_call();
}

size_t Service::active() const {
  std::lock_guard lock(mutex_);
  return calls_.size();
}

void Service::shutdown(std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  auto rest = [deadline] {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    return std::max(std::chrono::milliseconds(0), left);
  };
  for (auto& model : models_) model->engine().shutdown(rest());
  for (auto& model : embedders_) model->engine().shutdown(rest());
}

ApiError Service::find_model(const Json& body, Named& named) {
  std::string name;
  if (ApiError error = parse_model(body, name); error.is_error()) return error;
  auto adapter_of = [&](ServedModel& model, const std::string& adapter) -> ApiError {
    named = {&model, adapter};
    if (model.has_adapter(adapter)) return {};
    return no_model(str("model: no adapter '", shown_model(adapter), "' of '", model.id(), "' is loaded; ",
                        model.listed_adapters()));
  };
  for (auto& served : models_) {
    if (served->id() == name) named.model = served.get();
    if (served->id() == name) return {};
  }
  for (auto& served : models_)
    if (name.starts_with(served->id() + ":"))
      return adapter_of(*served, name.substr(served->id().size() + 1));
  for (auto& served : models_)
    if (served->has_adapter(name)) return adapter_of(*served, name);
  for (auto& served : embedders_)
    if (served->id() == name || models_.empty())
      return bad_field("model", str("model: '", served->id(),
                                    "' gives embeddings and writes no text; ask it at /v1/embeddings"));
  if (models_.size() == 1) {
    named.model = models_.front().get();
    const size_t colon = name.rfind(':');
    // A name of one's own for the model, and an adapter.
    if (colon == std::string::npos || named.model->adapters().empty()) return {};
    return adapter_of(*named.model, name.substr(colon + 1));
  }
  std::vector<std::string> ids;
  for (auto& served : models_) ids.push_back(served->id());
  return no_model(str("model: found '", shown_model(name), "', expected one of ", join(ids, ", ")));
}

RequestContext Service::context(ServedModel& model) const {
  return {model.tokenizer(), model.chat_template(), model.defaults(), limits_, model.grammars()};
}

void Service::note_unknown(const std::vector<std::string>& fields) {
  constexpr size_t kMostNoted = 100;  // names come from strangers
  for (const std::string& field : fields) {
    std::lock_guard lock(mutex_);
    if (note_ && noted_.size() < kMostNoted && noted_.insert(field).second)
      note_(str("requests have a field '", field.substr(0, 60), "', which is unknown and ignored"));
  }
}

// What will be read of a prompt, or of messages.
void Service::tokenize(const Json& body, CallId, const ReplyCallback& reply) {
  Named named;
  ApiError error = find_model(body, named);
  if (error.is_error()) return reply(error_reply(error));
  ServedModel* const model = named.model;
  Fields fields(body);
  std::string text;
  fields.read("prompt", text);
  fields.read("content", text);
  RenderOptions options;
  fields.read("add_generation_prompt", options.add_generation_prompt);
  fields.refuse("add_special_tokens", false, "nothing is put in front of a prompt; leave it out");
  fields.skip({"model"});
  const Json* messages = fields.get("messages");
  if (error = fields.finish(); error.is_error()) return reply(error_reply(error));
  Json list;
  if (messages)
    if (error = read_messages(*messages, list); error.is_error()) return reply(error_reply(error));
  fit_tool_calls(model->chat_template(), list);
  auto tokens = messages ? model->chat_template().encode(list, model->tokenizer(), options)
                         : model->tokenizer().encode(text);
  if (!tokens.is_ok())
    return reply(error_reply(bad_field(messages ? "messages" : "prompt", tokens.status().message())));
  reply({.text = json_text(
             {{"tokens", *tokens}, {"count", tokens->size()}, {"max_model_len", length_json(*model)}})});
}

void Service::detokenize(const Json& body, CallId, const ReplyCallback& reply) {
  Named named;
  ApiError error = find_model(body, named);
  if (error.is_error()) return reply(error_reply(error));
  ServedModel* const model = named.model;
  Fields fields(body);
  fields.skip({"model"});
  const Json* tokens = fields.get("tokens");
  if (!tokens || !tokens->is_array())
    fields.wrong("tokens", tokens ? *tokens : Json(nullptr), "a list of token ids");
  if (error = fields.finish(); error.is_error()) return reply(error_reply(error));
  std::vector<int32_t> ids;
  for (const Json& id : *tokens) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() >= model->tokenizer().vocab_size())
      return reply(error_reply(
          wrong_value("tokens", id, str("token ids from 0 to ", model->tokenizer().vocab_size() - 1))));
    ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  auto text = model->tokenizer().decode(ids);
  if (!text.is_ok()) return reply(error_reply(bad_field("tokens", text.status().message())));
  reply({.text = json_text({{"prompt", *text}, {"content", *text}})});
}

// One answers to any name but those of models that write.
ApiError Service::find_embedder(const Json& body, ServedEmbedder*& model) {
  std::string name;
  if (ApiError error = parse_model(body, name); error.is_error()) return error;
  for (auto& served : embedders_)
    if (served->id() == name || (embedders_.size() == 1 && models_.empty())) model = served.get();
  if (model) return {};
  for (auto& served : models_)
    if (embedders_.empty() || served->id() == name || name.starts_with(served->id() + ":"))
      return bad_field("model", str("model: '", served->id(), "' writes text and gives no embeddings; ",
                                    embedders_.empty() ? "serve one that does, with --embedding-model"
                                                       : str("ask '", embedders_[0]->id(), "'")));
  if (embedders_.size() == 1) {
    model = embedders_.front().get();
    return {};
  }
  std::vector<std::string> ids;
  for (auto& served : embedders_) ids.push_back(served->id());
  return no_model(str("model: found '", shown_model(name), "', expected one of ", join(ids, ", ")));
}

void Service::embed(const Json& body, CallId id, const ReplyCallback& reply) {
  ServedEmbedder* model = nullptr;
  EmbeddingAsk ask;
  ApiError error = find_embedder(body, model);
  if (!error.is_error()) error = parse_embeddings(body, *model, limits_, ask);
  if (error.is_error()) return reply(error_reply(error));
  note_unknown(ask.unknown);
  auto call = std::make_shared<EmbeddingCall>(*model, std::move(ask), id, reply, at_end(id));
  begin(id, [call] { call->cancel(); });
  call->start();
}

void Service::debug_metrics(const Json&, CallId, const ReplyCallback& reply) {
  Json result = Json::object();
  for (auto& model : models_) result[model->id()] = metrics_json(*model);
  for (auto& model : embedders_) result[model->id()] = metrics_json(*model);
  reply({.text = json_text(result.size() == 1 ? *result.begin() : result)});
}

void Service::debug_reset(const Json&, CallId, const ReplyCallback& reply) {
  for (auto& model : models_) model->engine().reset();
  reply({.text = "{}"});
}

void Service::debug_unbuilt(const Json&, CallId, const ReplyCallback& reply) {
  reply(error_reply({.status = 501,
                     .message = "event traces and CUDA's profiler are not built yet",
                     .param = "",
                     .code = ""}));
}

Reply Service::models_reply(std::string_view id) const {
  Json list = Json::array();
  for (auto& model : models_) add_models(*model, list);
  for (auto& model : embedders_)
    list.push_back({{"id", model->id()},
                    {"created", model->created()},
                    {"object", "model"},
                    {"owned_by", "MLC-LLM"},
                    {"max_model_len", model->engine().most_tokens()}});
  if (id.empty()) return {.text = json_text({{"object", "list"}, {"data", std::move(list)}})};
  for (const Json& model : list)
    if (model["id"] == id) return {.text = json_text(model)};
  return error_reply(no_model(str("model: '", shown_model(id), "' is not served")));
}

Reply Service::get(std::string_view path) {
  constexpr std::string_view kModels = "/v1/models";
  if (path == kModels || path.starts_with("/v1/models/"))
    return models_reply(path.substr(std::min(path.size(), kModels.size() + 1)));
  if (path == "/health") return {.text = R"({"status":"ok"})"};
  if (path == "/metrics") {
    std::vector<ServedModel*> models;
    for (auto& model : models_) models.push_back(model.get());
    std::vector<ServedEmbedder*> embedders;
    for (auto& model : embedders_) embedders.push_back(model.get());
    return {.text = prometheus_text(models, embedders, active())};
  }
  if (!knows(path)) return not_found(path);
  return error_reply(
      {.status = 405, .message = str(path, ": found GET, expected POST"), .param = "", .code = ""});
}

}  // namespace mlc::serve::openai
