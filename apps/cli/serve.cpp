// mlc_llm serve: the OpenAI API of models over HTTP (mlc-facts 1.11).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "apps/cli/commands.h"
#include "apps/cli/served_models.h"
#include "apps/http/api_server.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

struct Flags : ServedOptions {
  http::ServerOptions server;
  std::string speculative_mode = "disable", prefix_cache_mode = "radix", prefill_mode = "hybrid";
  std::vector<std::string> lora_adapters;  // NAME=FOLDER
  int64_t max_loras = 0, max_lora_rank = 0;
  std::string allow_origins = "[]", allow_methods = R"(["*"])", allow_headers = R"(["*"])";
  bool enable_tracing = false;
  int64_t shutdown_seconds = 30;
};

int interrupt_pipe[2] = {-1, -1};

void on_interrupt(int) {
  const char byte = 0;
  ssize_t ignored = ::write(interrupt_pipe[1], &byte, 1);
  (void)ignored;
}

// Waits for Ctrl-C or a kill; another one then ends the program at once.
Status wait_for_interrupt() {
  if (::pipe(interrupt_pipe) != 0)
    return Status::error("serve: no file descriptors are left; raise ulimit -n");
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  char byte = 0;
  while (::read(interrupt_pipe[0], &byte, 1) < 0) {
  }
  return Status::ok();
}

// A flag that is a JSON list of texts, or one text alone.
Result<std::vector<std::string>> json_list(const char* flag, const std::string& text) {
  auto parsed = parse_json(text, flag);
  if (!parsed.is_ok() || !parsed->is_array()) {
    if (text.find_first_of("[\"") == std::string::npos && !text.empty())
      return std::vector<std::string>{text};
    return Status::error(
        str(flag, ": found '", text, "', expected a JSON list as '[\"https://example.com\"]'"));
  }
  std::vector<std::string> list;
  for (const Json& item : *parsed) {
    if (!item.is_string()) return Status::error(str(flag, ": found ", item.type_name(), ", expected texts"));
    list.push_back(item.get<std::string>());
  }
  return list;
}

// What has a flag and is not built, or has one value only.
Status check_unbuilt(const Flags& flags) {
  if (flags.prefill_mode != "hybrid")
    return Status::error(str("--prefill-mode: ", flags.prefill_mode,
                             " is not possible, expected hybrid: answers are always written beside prompts"));
  if (flags.enable_tracing)
    return Status::error("--enable-tracing: event traces are not built yet; leave it out");
  return Status::ok();
}

// Adapters of the first model; the others can get theirs while they are served.
Status read_lora_flags(Flags& flags) {
  constexpr int64_t kSlots = 4;  // where adapters may come later and nobody says how many
  LoraFlags& lora = flags.session.lora;
  for (const std::string& text : flags.lora_adapters) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      return Status::error(str("--lora-adapter: found '", text, "', expected NAME=FOLDER"));
    const std::string name = text.substr(0, equals);
    if (std::ranges::find(lora.adapters, name, &LoraFlags::Adapter::name) != lora.adapters.end())
      return Status::error(
          str("--lora-adapter: found two called '", name, "', expected a name of its own for each"));
    lora.adapters.push_back({name, text.substr(equals + 1)});
  }
  const int64_t slots = flags.max_loras > 0      ? flags.max_loras
                        : flags.api.lora_loading ? std::max<int64_t>(std::ssize(lora.adapters), kSlots)
                                                 : 0;
  return make_lora_room(lora, slots, flags.max_lora_rank);
}

Status read_flags(Flags& flags) {
  RETURN_IF_ERROR(check_unbuilt(flags));
  RETURN_IF_ERROR(read_lora_flags(flags));
  http::AccessRules& access = flags.server.access;
  ASSIGN_OR_RETURN(access.allow_origins, json_list("--allow-origins", flags.allow_origins));
  ASSIGN_OR_RETURN(access.allow_methods, json_list("--allow-methods", flags.allow_methods));
  ASSIGN_OR_RETURN(access.allow_headers, json_list("--allow-headers", flags.allow_headers));
  ASSIGN_OR_RETURN(flags.session.overrides, take_engine_keys(flags.session.overrides, flags.limits));
  if (flags.prefix_cache_mode == "disable") flags.limits.prefix_cache = false;
  ASSIGN_OR_RETURN(flags.limits.speculative_mode,
                   parse_speculative_mode(flags.speculative_mode, "--speculative-mode"));
  return Status::ok();
}

Status serve_models(Flags& flags) {
  RETURN_IF_ERROR(read_flags(flags));
  flags.opened = [](const std::string& line) { std::printf("%s\n", printable(line).c_str()); };
  ASSIGN_OR_RETURN(auto served, open_models(flags));
  ASSIGN_OR_RETURN(auto server, http::ApiServer::start(*served->service, flags.server));
  std::printf("serving at http://%s:%d; Ctrl-C ends it\n", flags.server.host.c_str(), server->port());
  std::fflush(stdout);
  RETURN_IF_ERROR(wait_for_interrupt());
  std::printf("ending: %zu requests are at work, for %lld s at most\n", served->service->active(),
              static_cast<long long>(flags.shutdown_seconds));
  std::fflush(stdout);
  server->shutdown(std::chrono::seconds(flags.shutdown_seconds));
  return Status::ok();
}

void add_http_flags(CLI::App& sub, Flags& flags) {
  http::ServerOptions& server = flags.server;
  sub.add_option("--host", server.host, "address to listen at; 0.0.0.0 for all of this machine's");
  sub.add_option("--port", server.port, "0: any free one");
  sub.add_option("--api-key", server.access.api_key, "asked of every request but /health; absent: none");
  sub.add_option("--allow-origins,--allowed-origins", flags.allow_origins,
                 "JSON list of origins whose pages may ask ([\"*\"]: any; absent: none)");
  sub.add_option("--allow-methods,--allowed-methods", flags.allow_methods, "JSON list, for those pages");
  sub.add_option("--allow-headers,--allowed-headers", flags.allow_headers, "JSON list, for those pages");
  sub.add_flag("--allow-credentials", server.access.allow_credentials, "those pages may send cookies");
  sub.add_option("--max-body-bytes", server.max_body_bytes, "of a request; more is a 413");
  sub.add_option("--max-header-bytes", server.max_header_bytes, "of a request's head; more is a 431");
  sub.add_option("--max-connections", server.max_connections, "at once; more are a 503");
  sub.add_option("--max-choices", flags.api.choices, "n times the prompts of a request")
      ->check(whole_number(1, 65536));
  sub.add_option("--max-stops", flags.api.stops, "stop strings of a request")->check(whole_number(0, 65536));
  sub.add_option("--max-tools", flags.api.tools, "functions of a request")->check(whole_number(0, 65536));
  sub.add_option("--max-schema-bytes", flags.api.grammar.bytes, "of a schema, expression or grammar")
      ->check(whole_number(1, 16 << 20));
  sub.add_option("--max-schema-depth", flags.api.grammar.depth, "of its nested values")
      ->check(whole_number(1, 256));
  sub.add_option("--max-grammar-states", flags.api.grammar.states, "of its automaton, 1 to 2 kB each")
      ->check(whole_number(100, 10'000'000));
  sub.add_option("--max-grammar-ms", flags.api.grammar.milliseconds, "of work that compiling it may take")
      ->check(whole_number(1, 60'000));
  sub.add_option("--max-biases", flags.api.biases, "tokens in logit_bias")->check(whole_number(0, 1 << 20));
  sub.add_option("--max-embedding-inputs", flags.api.embedding_inputs, "of a request to /v1/embeddings")
      ->check(whole_number(1, 1 << 20));
  sub.add_option("--max-top-logprobs", flags.api.top_logprobs, "of each token")->check(whole_number(0, 20));
  sub.add_option("--max-tokens", flags.api.max_tokens, "of an answer; 0: what the context holds")
      ->check(whole_number(0, 1 << 30));
  sub.add_option("--shutdown-seconds", flags.shutdown_seconds,
                 "that requests at work get when the server is ended")
      ->check(whole_number(0, 86400));
}

void add_engine_flags(CLI::App& sub, Flags& flags) {
  sub.add_option("--mode", flags.limits.mode,
                 "local: 4 requests at once, interactive: 1, server: as many as memory and library hold")
      ->check(CLI::IsMember({"local", "interactive", "server"}));
  sub.add_flag("--enable-debug", flags.api.debug, "debug_config in requests, and /debug/...");
  sub.add_option("--additional-models", flags.additional_models, "further models: MODEL or MODEL,LIBRARY");
  sub.add_option("--embedding-model", flags.embedding_model, "a further model, for /v1/embeddings");
  sub.add_option("--embedding-model-lib", flags.embedding_model_lib,
                 "its compiled library; absent: compiled");
  sub.add_option("--pooling", flags.pooling,
                 "of embeddings: cls, mean or last; absent: as mlc-chat-config.json says")
      ->check(CLI::IsMember({"cls", "mean", "last"}));
  sub.add_option(
      "--speculative-mode", flags.speculative_mode,
      "disable; ngram: propose what followed the same tokens earlier; small_draft: what the model of "
      "--additional-models writes; medusa: what its heads guess");
  sub.add_option("--prefix-cache-mode", flags.prefix_cache_mode, "radix or disable")
      ->check(CLI::IsMember({"radix", "disable"}));
  sub.add_option("--prefill-mode", flags.prefill_mode, "hybrid");
  sub.add_flag("--enable-tracing", flags.enable_tracing, "not built yet");
}

void add_adapter_flags(CLI::App& sub, Flags& flags) {
  sub.add_option("--lora-adapter", flags.lora_adapters,
                 "NAME=FOLDER: a PEFT adapter of MODEL, asked for as \"model\": \"MODEL:NAME\"; may be given "
                 "several times");
  sub.add_option("--max-loras", flags.max_loras,
                 "adapters at once; absent: those of --lora-adapter, or 4 where more may come")
      ->check(whole_number(1, 1024));
  sub.add_option("--max-lora-rank", flags.max_lora_rank, "of adapters that come later; absent: 16")
      ->check(whole_number(1, 1024));
  sub.add_flag(
      "--allow-runtime-lora-updating", flags.api.lora_loading,
      "POST /v1/load_lora_adapter, which opens folders of this machine, and /v1/unload_lora_adapter");
}

}  // namespace

void add_serve(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "serve", "Serve models over HTTP as OpenAI's API does; converts and compiles them first if need be");
  add_session_flags(*sub, flags->session);
  add_engine_flags(*sub, *flags);
  add_adapter_flags(*sub, *flags);
  add_http_flags(*sub, *flags);
  sub->callback([flags] { throw_if_error(serve_models(*flags)); });
}

}  // namespace mlc::cli
