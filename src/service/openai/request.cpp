// Reads requests field by field.
#include "service/openai/request.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "service/openai/fields.h"
#include "service/openai/messages.h"
#include "service/openai/response_format.h"
#include "service/openai/tools.h"

namespace mlc::serve::openai {
namespace {

void read_stop(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  const Json* stop = fields.get("stop");
  if (!stop) return;
  const Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array()) return fields.wrong("stop", *stop, "a string or a list of strings");
  if (static_cast<int64_t>(list.size()) > limits.stops)
    return fields.fail(
        bad_field("stop", str("stop: found ", list.size(), " strings, expected at most ", limits.stops)));
  for (const Json& text : list) {
    if (!text.is_string() || text.empty()) return fields.wrong("stop", text, "strings");
    std::string value = text.get<std::string>();
    if (value.empty()) continue;
    if (static_cast<int64_t>(value.size()) > limits.stop_bytes)
      return fields.fail(bad_field("stop", str("stop: found a string of ", value.size(),
                                               " bytes, expected at most ", limits.stop_bytes)));
    config.stop_strings.push_back(std::move(value));
  }
}

void read_stop_token_ids(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  const Json* ids = fields.get("stop_token_ids");
  if (!ids) return;
  if (!ids->is_array() || static_cast<int64_t>(ids->size()) > limits.stops)
    return fields.wrong("stop_token_ids", *ids, str("a list of at most ", limits.stops, " token ids"));
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      return fields.wrong("stop_token_ids", id, "token ids");
    config.stop_token_ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
}

void read_logit_bias(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  const Json* bias = fields.get("logit_bias");
  if (!bias) return;
  if (!bias->is_object()) return fields.wrong("logit_bias", *bias, "an object {\"token id\": bias}");
  if (static_cast<int64_t>(bias->size()) > limits.biases)
    return fields.fail(bad_field(
        "logit_bias", str("logit_bias: found ", bias->size(), " tokens, expected at most ", limits.biases)));
  for (const auto& item : bias->items()) {
    int32_t token = -1;
    const char* end = item.key().data() + item.key().size();
    auto [stopped, error] = std::from_chars(item.key().data(), end, token);
    if (error != std::errc() || stopped != end || token < 0)
      return fields.wrong("logit_bias", Json(item.key()), "token ids as keys");
    const double value = item.value().is_number() ? item.value().get<double>() : NAN;
    if (!(value >= -100 && value <= 100))
      return fields.wrong("logit_bias", item.value(), "a number from -100 to 100 for each token");
    config.logit_bias[token] = value;
  }
}

void read_max_tokens(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  const int64_t most = limits.max_tokens > 0 ? limits.max_tokens : INT64_MAX;
  if (limits.max_tokens > 0) config.max_tokens = limits.max_tokens;
  fields.read("max_tokens", config.max_tokens, 0, most);
  fields.read("max_completion_tokens", config.max_tokens, 0, most);
}

void refuse_unbuilt(Fields& fields) {
  fields.refuse("functions", Json::array(), "OpenAI's old name of tools; use tools");
  fields.refuse("function_call", "none", "OpenAI's old name of tool_choice; use tool_choice");
  fields.refuse("modalities", Json::array({"text"}), "this model writes text only");
  for (const char* key : {"audio", "prediction", "web_search_options"})
    fields.refuse(key, nullptr, "not built; leave it out");
  fields.refuse("best_of", 1, "Request fields \"best_of\" are not supported right now.");
  fields.refuse("use_beam_search", false, "not built; leave it out");
  for (const char* key : {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "grammar"})
    fields.refuse(key, nullptr, "another server's field; use response_format");
}

void read_debug_config(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  const Json* debug = fields.get("debug_config");
  if (!debug) return;
  if (!debug->is_object()) return fields.wrong("debug_config", *debug, "an object");
  if (!limits.debug)
    return fields.fail(
        bad_field("debug_config", "debug_config: the server was started without --enable-debug"));
  Fields inner(*debug, "debug_config.");
  inner.read("ignore_eos", config.ignore_eos);
  inner.refuse("pinned_system_prompt", false, "not built yet; leave it out");
  inner.refuse("special_request", nullptr, "not built; read /metrics instead");
  inner.refuse("disagg_config", nullptr, "not built yet; leave it out");
  std::string mode = "jump_forward";
  inner.read("grammar_execution_mode", mode);
  if (mode != "jump_forward" && mode != "constraint")
    inner.wrong("grammar_execution_mode", Json(mode), "jump_forward or constraint");
  config.jump_forward = mode == "jump_forward";
  if (ApiError error = inner.finish(); error.is_error()) fields.fail(std::move(error));
}

void read_stream(Fields& fields, CompletionCall& call) {
  fields.read("stream", call.stream);
  const Json* options = fields.get("stream_options");
  if (!options) return;
  if (!options->is_object()) return fields.wrong("stream_options", *options, "an object");
  if (!call.stream)
    return fields.fail(
        bad_field("stream_options", "stream_options: found without stream, expected \"stream\": true"));
  Fields inner(*options, "stream_options.");
  inner.read("include_usage", call.include_usage);
  inner.skip({"include_obfuscation", "continuous_usage_stats"});
  if (ApiError error = inner.finish(); error.is_error()) fields.fail(std::move(error));
}

void read_sampling(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  fields.read("temperature", config.temperature, 0, 1e6);
  fields.read("top_p", config.top_p, 0, 1);
  fields.read("min_p", config.min_p, 0, 1);
  fields.read("top_k", config.top_k, -1);
  if (config.top_k < 0) config.top_k = 0;
  fields.read("frequency_penalty", config.frequency_penalty, -2, 2);
  fields.read("presence_penalty", config.presence_penalty, -2, 2);
  fields.read("repetition_penalty", config.repetition_penalty, 1e-6, 1e6);
  int64_t seed = -1;
  fields.read("seed", seed, INT64_MIN);
  if (fields.get("seed")) config.seed = static_cast<uint64_t>(seed);
  fields.read("ignore_eos", config.ignore_eos);
  read_stop(fields, limits, config);
  read_stop_token_ids(fields, limits, config);
  read_logit_bias(fields, limits, config);
  read_max_tokens(fields, limits, config);
}

void read_common(Fields& fields, const RequestContext& context, CompletionCall& call) {
  const ApiLimits& limits = context.limits;
  call.own_stops = static_cast<std::ptrdiff_t>(call.config.stop_strings.size());
  read_sampling(fields, limits, call.config);
  read_stream(fields, call);
  fields.read("n", call.n, 1, limits.choices);
  read_response_format(fields, context, call.config);
  read_debug_config(fields, limits, call.config);
  refuse_unbuilt(fields);
  // Who asks, how it is billed, and hints for others' servers.
  fields.skip({"model", "user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
               "prompt_cache_retention", "reasoning_effort", "verbosity", "logprobs", "top_logprobs",
               "request_id"});
}

// A text, or a list of token ids.
ApiError add_prompt(const Json& prompt, const std::string& path, const RequestContext& context,
                    CompletionCall& call) {
  std::vector<int32_t> ids;
  std::string text;
  if (prompt.is_string()) {
    text = prompt.get<std::string>();
    auto encoded = context.tokenizer.encode(text);
    if (!encoded.is_ok()) return bad_field(path, str(path, ": ", encoded.status().message()));
    ids = std::move(*encoded);
  } else if (prompt.is_array()) {
    if (ApiError error = read_token_ids(prompt, path, ids); error.is_error()) return error;
    if (call.echo) {
      auto decoded = context.tokenizer.decode(ids);
      if (!decoded.is_ok()) return bad_field(path, str(path, ": ", decoded.status().message()));
      text = std::move(*decoded);
    }
  } else {
    return wrong_value(path, prompt, "a string or a list of token ids");
  }
  if (ids.empty()) return wrong_value(path, Json("no tokens"), "at least one token");
  call.prompts.push_back(std::move(ids));
  call.prompt_texts.push_back(std::move(text));
  return {};
}

ApiError read_prompts(const Json* prompt, const RequestContext& context, CompletionCall& call) {
  if (!prompt) return wrong_value("prompt", Json(nullptr), "a string or a list of token ids");
  const bool several =
      prompt->is_array() && !prompt->empty() && ((*prompt)[0].is_string() || (*prompt)[0].is_array());
  if (!several) return add_prompt(*prompt, "prompt", context, call);
  if (static_cast<int64_t>(prompt->size()) > context.limits.choices / call.n)
    return bad_field("prompt", str("prompt: found ", prompt->size(), " prompts of ", call.n,
                                   " choices, expected at most ", context.limits.choices, " choices in all"));
  for (size_t i = 0; i < prompt->size(); ++i)
    if (ApiError error = add_prompt((*prompt)[i], str("prompt[", i, "]"), context, call); error.is_error())
      return error;
  return {};
}

void read_chat_logprobs(Fields& fields, const ApiLimits& limits, GenerationConfig& config) {
  fields.read("logprobs", config.logprobs);
  fields.read("top_logprobs", config.top_logprobs, 0, limits.top_logprobs);
  if (config.top_logprobs > 0 && !config.logprobs)
    fields.fail(
        bad_field("top_logprobs", "top_logprobs: found without logprobs, expected \"logprobs\": true"));
}

}  // namespace

GenerationConfig CompletionCall::choice_config(int64_t i) const {
  GenerationConfig result = config;
  if (result.seed && n > 1) *result.seed += static_cast<uint64_t>(i) + 1;
  return result;
}

ApiError parse_body(std::string_view body, Json& object) {
  auto parsed = parse_json(body, "body");
  if (!parsed.is_ok()) return bad_field("", parsed.status().message());
  if (!parsed->is_object()) return wrong_value("body", *parsed, "a JSON object");
  object = std::move(*parsed);
  return {};
}

ApiError parse_model(const Json& object, std::string& model) {
  Fields fields(object);
  fields.read("model", model);
  return fields.failed() ? fields.finish() : ApiError{};
}

ApiError parse_chat(const Json& object, const RequestContext& context, CompletionCall& call) {
  call.chat = true;
  call.config = context.defaults;
  Fields fields(object);
  read_common(fields, context, call);
  read_chat_logprobs(fields, context.limits, call.config);
  RenderOptions options;
  read_tools(fields, context, call, options);
  if (const Json* variables = fields.get("chat_template_kwargs")) {
    if (!variables->is_object()) fields.wrong("chat_template_kwargs", *variables, "an object");
    options.variables = *variables;
  }
  fields.read("add_generation_prompt", options.add_generation_prompt);
  const Json* given = fields.get("messages");
  if (ApiError error = fields.finish(&call.unknown); error.is_error()) return error;
  Json messages;
  if (ApiError error = read_messages(given ? *given : Json(nullptr), messages); error.is_error())
    return error;
  fit_tool_calls(context.chat_template, messages);
  auto prompt = context.chat_template.encode(messages, context.tokenizer, options);
  if (!prompt.is_ok()) return bad_field("messages", prompt.status().message());
  call.form.opens_thinking = opens_thinking(*prompt, context.tokenizer);
  call.form.thinks |= call.form.opens_thinking;
  call.prompts = {std::move(*prompt)};
  return {};
}

ApiError parse_completion(const Json& object, const RequestContext& context, CompletionCall& call) {
  call.config = context.defaults;
  Fields fields(object);
  read_common(fields, context, call);
  for (const char* key : {"tools", "tool_choice"})
    fields.refuse(key, nullptr, "completions call no tools; use /v1/chat/completions");
  fields.skip({"parallel_tool_calls"});
  fields.read("echo", call.echo);
  fields.read("suffix", call.suffix);
  if (fields.get("logprobs")) {
    call.config.logprobs = true;
    fields.read("logprobs", call.config.top_logprobs, 0, std::min<int64_t>(5, context.limits.top_logprobs));
    call.config.prompt_logprobs = call.echo;
  }
  const Json* prompt = fields.get("prompt");
  if (ApiError error = fields.finish(&call.unknown); error.is_error()) return error;
  return read_prompts(prompt, context, call);
}

}  // namespace mlc::serve::openai
