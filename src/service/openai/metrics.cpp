// Names and values of counters.
#include "service/openai/metrics.h"

#include <map>

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

double rate(double tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; }

Json last_json(const RequestCounters& c) {
  const RequestMetrics& last = c.last;
  const double after_first = c.last_seconds - last.time_to_first_token;
  return {{"prompt_tokens", last.prompt_tokens},
          {"completion_tokens", last.completion_tokens},
          {"prefill_tokens", last.prefilled_tokens},
          {"decode_tokens", last.decode_tokens},
          {"jump_forward_tokens", 0},
          {"prefill_tokens_per_s", last.prefill_tokens_per_second()},
          {"decode_tokens_per_s", last.decode_tokens_per_second()},
          {"end_to_end_latency_s", c.last_seconds},
          {"ttft_s", last.time_to_first_token},
          {"inter_token_latency_s",
           last.completion_tokens > 1 ? after_first / static_cast<double>(last.completion_tokens - 1) : 0.0}};
}

// name -> value, of the leaves.
void flatten(const Json& json, const std::string& name, std::map<std::string, std::string>& values) {
  if (!json.is_object()) {
    values[name] = json_text(json);
    return;
  }
  for (const auto& item : json.items())
    flatten(item.value(), name.empty() ? item.key() : name + "_" + item.key(), values);
}

std::string label_text(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

Json metrics_json(ServedModel& model) {
  const EngineMetrics m = model.engine().metrics();
  const RequestCounters c = model.counters();
  const AsyncEngine::Load load = model.engine().load();
  Json finished = Json::object();
  for (FinishReason reason :
       {FinishReason::kStop, FinishReason::kLength, FinishReason::kError, FinishReason::kAbort})
    finished[finish_reason_text(reason)] = c.finished_by_reason[static_cast<size_t>(reason)];
  return {{"engine_prefill_time_sum", m.prefill_seconds},
          {"engine_decode_time_sum", m.decode_seconds},
          {"engine_jump_forward_time_sum", 0.0},
          {"prompt_tokens_sum", c.prompt_tokens},
          {"completion_tokens_sum", c.completion_tokens},
          {"cached_tokens_sum", c.cached_tokens},
          {"prefill_tokens_sum", m.prefill_tokens},
          {"decode_tokens_sum", m.decode_tokens},
          {"jump_forward_tokens_sum", m.jump_forward_tokens},
          {"mask_time_sum", m.mask_seconds},
          {"prefill_tokens_per_s", rate(static_cast<double>(m.prefill_tokens), m.prefill_seconds)},
          {"decode_tokens_per_s", rate(static_cast<double>(m.decode_tokens), m.decode_seconds)},
          {"preemptions_sum", m.preemptions},
          {"spec_decode", {{"draft_count", m.draft_tokens}, {"accept_count", m.accepted_draft_tokens}}},
          {"requests_waiting", load.waiting},
          {"requests_running", load.running},
          {"requests_finished", std::move(finished)},
          {"last_finished_request", last_json(c)}};
}

Json metrics_json(const ServedEmbedder& model) {
  const AsyncEmbedder::Load load = model.engine().load();
  return {{"embedding_steps_sum", load.steps},
          {"embedding_tokens_sum", load.tokens},
          {"inputs_waiting", load.waiting},
          {"inputs_running", load.running}};
}

std::string prometheus_text(const std::vector<ServedModel*>& models,
                            const std::vector<ServedEmbedder*>& embedders, size_t calls) {
  std::map<std::string, std::string> lines;  // of each name, so that a name's samples stand together
  auto add = [&](auto& model, bool labelled) {
    std::map<std::string, std::string> values;
    flatten(metrics_json(model), "", values);
    const std::string label = labelled ? str("{model=\"", label_text(model.id()), "\"}") : "";
    for (const auto& [name, value] : values) lines[name] += str(name, label, "\t", value, "\n");
  };
  for (ServedModel* model : models) add(*model, models.size() > 1);
  for (ServedEmbedder* model : embedders) add(*model, embedders.size() > 1);
  std::string text = str("# TYPE calls_active gauge\ncalls_active\t", calls, "\n");
  for (const auto& [name, samples] : lines) {
    const bool counter = name.ends_with("_sum") || name.starts_with("requests_finished_");
    text += str("# TYPE ", name, counter ? " counter\n" : " gauge\n", samples);
  }
  return text;
}

}  // namespace mlc::serve::openai
