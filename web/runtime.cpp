// The runtime's C interface for a host in JavaScript (web/host.mjs): exported functions over bytes in this
// module's memory. One model at a time; one thread.
//
// Texts are UTF-8, most of them JSON. Functions give -1 for an error; what they have to say, an error's one
// sentence or a result, lies at mlc_result() until the next call. Nothing here waits: the host polls. What
// breaks the program's own rules ends in a trap (abort, a panic of the text library): then the instance is
// lost.
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/file.h"
#include "base/strings.h"
#include "chat/end_tokens.h"
#include "chat/tokenizer/tokenizer.h"
#include "runtime/devices/registry.h"
#include "serve/engine.h"
#include "service/openai/request.h"

namespace mlc::web {
namespace {

using runtime::Model;
using serve::openai::ApiError;

constexpr runtime::SequenceId kForwardSequence = int64_t{1} << 62;  // the engine counts from 0

struct Opened {
  runtime::DevicePtr device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
  std::unique_ptr<GrammarCompiler> grammars;
  serve::GenerationConfig defaults;
  std::unique_ptr<serve::Engine> engine;
  std::string fallback;     // why it is not WebGPU that `auto` took; "" where it is, or was not asked for
  bool forwarding = false;  // a step of mlc_forward is under way
};

std::unique_ptr<Opened> opened;
std::string result;  // what mlc_result() points to
Json updates = Json::array();
serve::RequestId last_id = 0;

int32_t fail(const std::string& sentence) {
  result = sentence;
  return -1;
}
int32_t fail(const Status& status) { return fail(status.message()); }
int32_t succeed(const Json& value) {
  result = json_text(value);
  return 0;
}

constexpr const char* kNothingOpen = "no model is open; call open first";

Result<Json> read_config(const std::string& folder, std::string& path) {
  path = path_join(folder, "mlc-chat-config.json");
  ASSIGN_OR_RETURN(Json config, read_json_file(path));
  if (!config.is_object())
    return Status::error(path + ": expected a JSON object written by `mlc_llm gen_config`");
  return config;
}

Result<ChatTemplate> open_template(const Json& config, const std::string& what) {
  const Json* object = find(config, "conv_template");
  if (!object || !(object->is_object() || object->is_string()))
    return Status::error(what + ": no conv_template; run `mlc_llm gen_config` with --conv-template");
  const auto bos = static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1));
  ASSIGN_OR_RETURN(Conversation conversation, object->is_object()
                                                  ? Conversation::from_json(*object, what)
                                                  : find_preset_2023(object->get<std::string>(), bos));
  return ChatTemplate::create(std::move(conversation), "messages");
}

// A number above 0, or `fallback` where the options have none.
Result<int64_t> count_option(const Json& options, const char* key, int64_t fallback) {
  const Json* value = find(options, key);
  if (!value) return fallback;
  if (!value->is_number_integer() || value->get<int64_t>() < 1 || value->get<int64_t>() > INT32_MAX)
    return Status::error(str(key, ": found ", json_text(*value), ", expected a number above 0"));
  return value->get<int64_t>();
}

Status open_text(Opened& o, const Json& config, const std::string& folder, const std::string& path) {
  ASSIGN_OR_RETURN(o.tokenizer, Tokenizer::load(folder));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, open_template(config, path));
  o.chat_template = std::make_unique<ChatTemplate>(std::move(chat_template));
  o.grammars = std::make_unique<GrammarCompiler>(o.tokenizer);
  o.defaults = serve::GenerationConfig::from_mlc_config(config);
  o.defaults.stop_strings = o.chat_template->conversation().stop_str;
  o.defaults.stop_token_ids = ids_of(end_tokens(config, *o.chat_template, *o.tokenizer));
  return Status::ok();
}

Status open_library_on(Opened& o, const std::string& device, const std::string& library) {
  ASSIGN_OR_RETURN(o.device, runtime::open_device(device));
  ASSIGN_OR_RETURN(o.module, runtime::Module::load(*o.device, library));
  return Status::ok();
}

// "auto": WebGPU where the host has a device that runs a variant of the library, else the CPU.
Status open_library(Opened& o, const std::string& device, const std::string& library) {
  if (device != "auto") return open_library_on(o, device, library);
  const Status status = open_library_on(o, "webgpu", library);
  if (status.is_ok()) return status;
  o.module.reset();
  o.fallback = status.message();
  return open_library_on(o, "cpu", library);
}

Result<std::unique_ptr<Opened>> open(const Json& options) {
  const std::vector<std::string> keys = {
      "folder", "library", "device", "text", "context_window_size", "prefill_chunk_size", "max_batch_size"};
  for (const auto& item : options.items())
    if (std::find(keys.begin(), keys.end(), item.key()) == keys.end())
      return Status::error(str("options: unknown key '", item.key(), "', expected one of ", join(keys, ", "),
                               did_you_mean(item.key(), keys)));
  ASSIGN_OR_RETURN(const std::string folder, get_string(options, "folder", "options"));
  ASSIGN_OR_RETURN(const std::string library, get_string(options, "library", "options"));
  auto o = std::make_unique<Opened>();
  std::string path;
  ASSIGN_OR_RETURN(const Json config, read_config(folder, path));
  const bool text = find_bool(options, "text").value_or(true);
  runtime::ModelLimits limits;
  ASSIGN_OR_RETURN(limits.max_sequences, count_option(options, "max_batch_size", 1));
  ASSIGN_OR_RETURN(limits.context_tokens,
                   count_option(options, "context_window_size",
                                std::max<int64_t>(find_int(config, "context_window_size").value_or(0), 0)));
  ASSIGN_OR_RETURN(limits.prefill_chunk, count_option(options, "prefill_chunk_size", 0));
  RETURN_IF_ERROR(open_library(*o, find_string(options, "device").value_or("auto"), library));
  if (text) RETURN_IF_ERROR(open_text(*o, config, folder, path));
  ASSIGN_OR_RETURN(o->model, Model::load(*o->device, o->module, folder, limits));
  serve::EngineOptions engine;
  engine.max_running = static_cast<size_t>(limits.max_sequences);
  if (text) o->engine = std::make_unique<serve::Engine>(*o->model, o->tokenizer, engine);
  return o;
}

Json logprob_json(const serve::TokenLogprob& t) { return {{"token", t.token}, {"logprob", t.logprob}}; }

void add_update(const serve::StreamUpdate& u) {
  Json update = {{"id", u.id}, {"text", u.text}, {"token", u.token}};
  if (u.logprobs) {
    update["logprob"] = u.logprobs->chosen.logprob;
    update["top_logprobs"] = Json::array();
    for (const serve::TokenLogprob& t : u.logprobs->top) update["top_logprobs"].push_back(logprob_json(t));
  }
  if (u.finish != serve::FinishReason::kNone) {
    update["finish_reason"] = finish_reason_text(u.finish);
    if (!u.error.empty()) update["error"] = u.error;
    const serve::RequestMetrics& m = u.metrics;
    update["usage"] = {{"prompt_tokens", m.prompt_tokens},
                       {"completion_tokens", m.completion_tokens},
                       {"prefill_seconds", m.prefill_seconds},
                       {"decode_seconds", m.decode_seconds},
                       {"time_to_first_token_s", m.time_to_first_token}};
  }
  updates.push_back(std::move(update));
}

// A body of the API with `messages`, or with `prompt`, a text or token ids.
int32_t add_request(const Json& body) {
  serve::openai::ApiLimits limits;
  limits.choices = 1;
  const serve::openai::RequestContext context{*opened->tokenizer, *opened->chat_template, opened->defaults,
                                              limits, *opened->grammars};
  serve::openai::CompletionCall call;
  const bool completion = find(body, "prompt") != nullptr;
  const ApiError error = completion ? parse_completion(body, context, call) : parse_chat(body, context, call);
  if (error.is_error()) return fail(error.message);
  serve::Request request{.id = ++last_id,
                         .prompt = std::move(call.prompts[0]),
                         .config = call.choice_config(0),
                         .on_update = add_update};
  if (Status status = opened->engine->add_request(std::move(request)); !status.is_ok()) return fail(status);
  Json said = {{"id", last_id}};
  if (!call.unknown.empty()) said["ignored"] = call.unknown;
  result = json_text(said);
  return static_cast<int32_t>(last_id);
}

Result<Json> read_object(const char* text, size_t bytes, const char* what) {
  ASSIGN_OR_RETURN(Json json, parse_json({text, bytes}, what));
  if (!json.is_object()) return Status::error(str(what, ": expected a JSON object"));
  return json;
}

Status begin_forward(std::span<const int32_t> tokens, bool anew) {
  Opened& o = *opened;
  if (o.forwarding || (o.engine && o.engine->running() + o.engine->waiting() > 0))
    return Status::error("forward: a step or a request is under way; wait for its end");
  if (tokens.empty() || static_cast<int64_t>(tokens.size()) > o.model->prefill_chunk())
    return Status::error(str("forward: found ", tokens.size(), " tokens, expected 1 to ",
                             o.model->prefill_chunk(), ", what a step takes"));
  for (int32_t token : tokens)
    if (token < 0 || token >= o.model->vocab_size())
      return Status::error(
          str("forward: token ", token, " is outside of the vocabulary of ", o.model->vocab_size()));
  runtime::SequenceStore& sequences = o.model->sequences();
  if (anew && sequences.contains(kForwardSequence)) RETURN_IF_ERROR(sequences.remove(kForwardSequence));
  if (!sequences.contains(kForwardSequence)) RETURN_IF_ERROR(sequences.add(kForwardSequence));
  const runtime::StepSequence step{.id = kForwardSequence, .tokens = tokens};
  RETURN_IF_ERROR(o.model->begin_step({&step, 1}, runtime::WantLogits::kLast));
  o.forwarding = true;
  return Status::ok();
}

}  // namespace
}  // namespace mlc::web

#define MLC_EXPORT(name) extern "C" __attribute__((export_name(#name)))
using namespace mlc;
using namespace mlc::web;

// Memory for what the host hands in; nullptr when there is none.
MLC_EXPORT(mlc_allocate) void* mlc_allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;  // of whatever a side module may ask for
  if (bytes > SIZE_MAX - kAlignment) return nullptr;
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}
MLC_EXPORT(mlc_release) void mlc_release(void* memory) { std::free(memory); }

MLC_EXPORT(mlc_result) const char* mlc_result() { return result.data(); }
MLC_EXPORT(mlc_result_bytes) size_t mlc_result_bytes() { return result.size(); }

// Options: {"folder", "library": paths that the host knows, "device": "webgpu", "cpu" or "auto", as where it
// is absent, "text": false for mlc_forward alone, without tokenizer, "context_window_size",
// "prefill_chunk_size", "max_batch_size"}. What was open is closed first. Result: {"device", "variant",
// "memory", "vocab_size", "context_window_size", where auto took the CPU "fallback": why}.
MLC_EXPORT(mlc_open) int32_t mlc_open(const char* text, size_t bytes) {
  opened.reset();
  updates = Json::array();
  auto options = read_object(text, bytes, "options");
  if (!options.is_ok()) return fail(options.status());
  auto o = open(*options);
  if (!o.is_ok()) return fail(o.status());
  opened = std::move(o).value();
  const Model& model = *opened->model;
  Json said = {{"device", opened->device->properties.name},
               {"variant", opened->module->variant()},
               {"memory", model.memory().text()},
               {"vocab_size", model.vocab_size()},
               {"context_window_size", model.context_tokens()}};
  if (!opened->fallback.empty()) said["fallback"] = opened->fallback;
  return succeed(said);
}

MLC_EXPORT(mlc_close) void mlc_close() { opened.reset(); }

// Queues a request: a body of /v1/chat/completions, or with `prompt` of /v1/completions, of one choice. Gives
// its id, above 0. Result: {"id", "ignored": names of unknown fields}.
MLC_EXPORT(mlc_request) int32_t mlc_request(const char* text, size_t bytes) {
  if (!opened || !opened->engine) return fail(kNothingOpen);
  auto body = read_object(text, bytes, "request");
  return body.is_ok() ? add_request(*body) : fail(body.status());
}

MLC_EXPORT(mlc_abort) void mlc_abort(int32_t id) {
  if (opened && opened->engine) opened->engine->abort(id);
}

// Begins a step or finishes it: 0 nothing is left to do, 1 the device works, 2 a step is done. Result: a list
// of
// {"id", "text", "token", with logprobs "logprob" and "top_logprobs", at the end "finish_reason", "usage"
// and, where it failed, "error"}.
MLC_EXPORT(mlc_poll) int32_t mlc_poll() {
  if (!opened || !opened->engine) return fail(kNothingOpen);
  const serve::StepOutcome outcome = opened->engine->poll_step();
  result = json_text(updates);
  updates = Json::array();
  return static_cast<int32_t>(outcome);
}

// Begins a step of a text of its own, of these tokens (none of what was there before with `anew`); for its
// logits call mlc_forward_poll() until it gives 1: 0 the device works. Result then: one f32 for each id of
// the vocabulary.
MLC_EXPORT(mlc_forward) int32_t mlc_forward(const int32_t* tokens, size_t count, int32_t anew) {
  if (!opened) return fail(kNothingOpen);
  const Status status = begin_forward({tokens, count}, anew != 0);
  return status.is_ok() ? 0 : fail(status);
}
MLC_EXPORT(mlc_forward_poll) int32_t mlc_forward_poll() {
  if (!opened || !opened->forwarding) return fail("forward: no step is under way");
  auto done = opened->model->poll_step();
  if (!done.is_ok()) opened->forwarding = false;
  if (!done.is_ok()) return fail(done.status());
  if (!*done) return 0;
  opened->forwarding = false;
  const std::span<const float> logits = opened->model->result().logits;
  result.assign(reinterpret_cast<const char*>(logits.data()), logits.size_bytes());
  return 1;
}
