// Opens models as serve does, and hands requests to the service.
#include "python/native/engine.h"

#include <csignal>
#include <cstdio>

#include "apps/cli/command_line.h"
#include "apps/cli/commands.h"
#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::python {
namespace {

// While it lives one thread alone may use what commands share: the signals' handlers, which commands set and
// which are put back at its end, and the notes.
class CommandScope {
 public:
  CommandScope() : lock_(mutex()) {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], nullptr, &before_[i]);
  }
  ~CommandScope() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
    std::fflush(stdout);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGXFSZ};
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }

  std::lock_guard<std::mutex> lock_;
  struct sigaction before_[std::size(kSignals)];
};

cli::ServedOptions options_of(const Json& settings) {
  cli::ServedOptions options;
  auto read = [&](const char* key, std::string& target) {
    if (auto text = find_string(settings, key)) target = *text;
  };
  read("model", options.session.checkpoint.source.config);
  read("device", options.session.device);
  read("model_lib", options.session.model_lib);
  read("mode", options.limits.mode);
  read("opt", options.session.opt);
  read("pooling", options.pooling);
  std::string overrides, speculative_mode;
  read("overrides", overrides);
  read("speculative_mode", speculative_mode);
  if (!speculative_mode.empty())
    options.limits.speculative_mode =
        cli::value_or_throw(cli::parse_speculative_mode(speculative_mode, "--speculative-mode"));
  options.session.overrides = cli::value_or_throw(cli::take_engine_keys(overrides, options.limits));
  if (const Json* models = find(settings, "additional_models"))
    for (const Json& model : *models) options.additional_models.push_back(model.get<std::string>());
  if (const Json* adapters = find(settings, "lora_adapters"))
    for (const auto& adapter : adapters->items())
      options.session.lora.adapters.push_back({adapter.key(), adapter.value().get<std::string>()});
  cli::throw_if_error(cli::make_lora_room(options.session.lora, find_int(settings, "max_loras").value_or(0),
                                          find_int(settings, "max_lora_rank").value_or(0)));
  options.api.debug = options.api.lora_loading = true;  // the caller is this process
  const Json* verbose = find(settings, "verbose");
  if (verbose && *verbose == true) options.opened = cli::print_line;
  return options;
}

Json generation_json(const serve::GenerationConfig& g) {
  return {{"temperature", g.temperature},
          {"top_p", g.top_p},
          {"frequency_penalty", g.frequency_penalty},
          {"presence_penalty", g.presence_penalty},
          {"repetition_penalty", g.repetition_penalty},
          {"max_tokens", g.max_tokens},
          {"stop_strs", g.stop_strings},
          {"stop_token_ids", g.stop_token_ids}};
}

Json describe(const cli::ServedModels& served) {
  Json models = Json::array();
  for (size_t i = 0; i < served.sessions.size(); ++i) {
    const cli::Session& session = *served.sessions[i];
    const int64_t context = session.model->context_tokens();
    models.push_back({{"device", session.device->properties.name},
                      {"max_num_sequence", served.limits[i].max_sequences},
                      {"max_total_sequence_length", served.limits[i].total_tokens},
                      {"max_single_sequence_length", context == INT64_MAX ? -1 : context},
                      {"prefill_chunk_size", session.model->prefill_chunk()},
                      {"generation", generation_json(session.generation_defaults())}});
  }
  return {{"models", std::move(models)}};
}

}  // namespace

void ReplyQueue::put(int64_t key, const serve::openai::Reply& reply) {
  {
    std::lock_guard lock(mutex_);
    answers_.push_back({key, reply});
  }
  changed_.notify_one();
}

std::vector<Answer> ReplyQueue::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [this] { return closed_ || !answers_.empty(); });
  return std::exchange(answers_, {});
}

void ReplyQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

bool ReplyQueue::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

Engine::Engine(const Json& settings) {
  CommandScope scope;
  served_ = cli::value_or_throw(cli::open_models(options_of(settings)));
  description_ = describe(*served_);
}

std::shared_ptr<cli::ServedModels> Engine::served() const {
  std::lock_guard lock(mutex_);
  if (!served_) throw UserError("the engine has been terminated; make a new one");
  return served_;
}

int64_t Engine::submit(std::string_view path, std::string_view body, std::shared_ptr<ReplyQueue> queue,
                       int64_t key) {
  return served()->service->submit(
      path, body, [queue = std::move(queue), key](const auto& reply) { queue->put(key, reply); });
}

void Engine::cancel(int64_t call) {
  std::shared_ptr<cli::ServedModels> served;
  {
    std::lock_guard lock(mutex_);
    served = served_;
  }
  if (served) served->service->cancel(call);
}

serve::openai::Reply Engine::get(std::string_view path) { return served()->service->get(path); }

void Engine::terminate() {
  std::shared_ptr<cli::ServedModels> served;
  {
    std::lock_guard lock(mutex_);
    served.swap(served_);
  }
  if (served) served->service->shutdown(std::chrono::milliseconds(0));
}

int run_command(const std::vector<std::string>& arguments) {
  CommandScope scope;
  const int code = cli::run_command_line(arguments);
  cli::finish_output();
  return code;
}

}  // namespace mlc::python
