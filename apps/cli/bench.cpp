// mlc_llm bench: how fast a model runs here, beside what this machine's memory can deliver in the same run.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <thread>

#include "apps/cli/commands.h"
#include "apps/cli/session.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  SessionFlags session;
  int64_t prefill = 512, decode = 128, repeat = 5;
  bool json = false;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Bytes per second that `threads` threads together read from memory: sums over a buffer far larger than any cache, the
// best of three passes.
double read_bandwidth(int threads) {
  constexpr size_t kWords = size_t{48} << 20;  // 48 Mi words of 8 bytes = 384 MiB
  std::vector<uint64_t> data(kWords, 1);
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    auto start = Clock::now();
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t)
      workers.emplace_back([&, t] {
        size_t begin = kWords * static_cast<size_t>(t) / static_cast<size_t>(threads);
        size_t end = kWords * (static_cast<size_t>(t) + 1) / static_cast<size_t>(threads);
        uint64_t a = 0, b = 0, c = 0, d = 0;  // four chains, so that additions do not limit the loads
        for (size_t i = begin; i + 4 <= end; i += 4) a += data[i], b += data[i + 1], c += data[i + 2], d += data[i + 3];
        sums[static_cast<size_t>(t)] = a + b + c + d;
      });
    for (std::thread& w : workers) w.join();
    best = std::max(best, kWords * sizeof(uint64_t) / seconds_since(start));
  }
  internal_check(std::accumulate(sums.begin(), sums.end(), uint64_t{0}) > 0, "the sums are of ones");
  return best;
}

struct Measurement {
  double prefill_tok_s = 0, decode_tok_s = 0, first_token_s = 0;
};

Result<Measurement> measure(Session& session, const Flags& flags, const std::vector<int32_t>& prompt) {
  runtime::Model& model = *session.model;
  constexpr runtime::SequenceId kSequence = 1 << 30;
  RETURN_IF_ERROR(model.cache().add_sequence(kSequence));
  Measurement m;
  auto start = Clock::now();
  int32_t token = 0;
  for (size_t done = 0; done < prompt.size();) {
    size_t n = std::min(prompt.size() - done, static_cast<size_t>(model.prefill_chunk()));
    runtime::StepSequence step{kSequence, std::span(prompt).subspan(done, n)};
    bool last = done + n == prompt.size();
    ASSIGN_OR_RETURN(auto logits, model.step({&step, 1}, last ? runtime::WantLogits::kLast : runtime::WantLogits::kNone));
    if (last) token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    done += n;
  }
  m.first_token_s = seconds_since(start);
  m.prefill_tok_s = static_cast<double>(prompt.size()) / m.first_token_s;
  start = Clock::now();
  for (int64_t i = 0; i < flags.decode; ++i) {
    runtime::StepSequence step{kSequence, {&token, 1}};
    ASSIGN_OR_RETURN(auto logits, model.step({&step, 1}, runtime::WantLogits::kLast));
    token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  m.decode_tok_s = static_cast<double>(flags.decode) / seconds_since(start);
  RETURN_IF_ERROR(model.cache().remove_sequence(kSequence));
  return m;
}

Json report(const Session& session, const Flags& flags, const std::vector<Measurement>& runs, double bandwidth) {
  auto pick = [&](double Measurement::*field) {
    std::vector<double> values;
    for (const Measurement& m : runs) values.push_back(m.*field);
    return median(values);
  };
  // Memory that every decoded token reads: all weights but the embedding table, of which it reads one row (a tied table is
  // read whole as the output layer).
  int64_t token_bytes = 0;
  bool tied = true;
  for (const PlanWeight& w : session.module->plan().weights) tied &= w.name != "lm_head.weight" && w.name != "embed_out.weight";
  for (const PlanWeight& w : session.module->plan().weights)
    if (tied || (w.name.find("embed_tokens") == std::string::npos && w.name.find("embed_in.") == std::string::npos))
      token_bytes += w.bytes;
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  double decode = pick(&Measurement::decode_tok_s);
  return {{"model", session.folder},
          {"variant", session.module->variant()},
          {"threads", session.device->properties.threads},
          {"prefill_tokens", flags.prefill},
          {"decode_tokens", flags.decode},
          {"prefill_tok_s", pick(&Measurement::prefill_tok_s)},
          {"decode_tok_s", decode},
          {"load_s", session.load_seconds},
          {"ttft_s", session.load_seconds + pick(&Measurement::first_token_s)},
          {"peak_rss_bytes", static_cast<int64_t>(usage.ru_maxrss) * 1024},
          {"token_bytes", token_bytes},
          {"read_bandwidth_bytes_s", bandwidth},
          {"bandwidth_share", decode * static_cast<double>(token_bytes) / bandwidth}};
}

void print_table(const Json& r) {
  auto number = [&](const char* key) { return r[key].get<double>(); };
  std::printf("%s on %s, %d threads\n", r["model"].get<std::string>().c_str(), r["variant"].get<std::string>().c_str(),
              r["threads"].get<int>());
  std::printf("  prefill %5lld tokens   %10.1f tok/s\n", static_cast<long long>(r["prefill_tokens"].get<int64_t>()), number("prefill_tok_s"));
  std::printf("  decode  %5lld tokens   %10.1f tok/s   %.0f %% of the read bandwidth (%s/s)\n",
              static_cast<long long>(r["decode_tokens"].get<int64_t>()), number("decode_tok_s"), 100 * number("bandwidth_share"),
              human_bytes(number("read_bandwidth_bytes_s")).c_str());
  std::printf("  load %.2f s, start to first token %.2f s, peak memory %s\n", number("load_s"), number("ttft_s"),
              human_bytes(number("peak_rss_bytes")).c_str());
}

Status bench(const Flags& flags) {
  ASSIGN_OR_RETURN(auto session, open_session(flags.session));
  int64_t context = session->model->context_tokens();
  if (flags.prefill + flags.decode > context)
    return Status::error(str("--prefill: ", flags.prefill, " + --decode ", flags.decode, " tokens are more than the context of ",
                             context, "; lower them or raise context_window_size in --overrides"));
  std::vector<int32_t> prompt;  // any tokens do: the work does not depend on them
  for (int64_t i = 0; i < flags.prefill; ++i) prompt.push_back(static_cast<int32_t>((i * 7919 + 17) % session->model->vocab_size()));
  std::vector<Measurement> runs;
  for (int64_t i = 0; i <= flags.repeat; ++i) {
    ASSIGN_OR_RETURN(Measurement m, measure(*session, flags, prompt));
    if (i > 0) runs.push_back(m);  // the first warms up
  }
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  int64_t peak = static_cast<int64_t>(usage.ru_maxrss) * 1024;  // before the bandwidth buffer
  Json r = report(*session, flags, runs, read_bandwidth(session->device->properties.threads));
  r["peak_rss_bytes"] = peak;
  if (flags.json) std::printf("%s\n", r.dump(2).c_str());
  else print_table(r);
  return Status::ok();
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("bench", "Measure a model: tokens per second, memory, share of the machine's bandwidth");
  SessionFlags& s = flags->session;
  sub->add_option("MODEL", s.model, "as for chat")->required();
  sub->add_option("--device", s.device, "auto or cpu");
  sub->add_option("--model-lib", s.model_lib, "a compiled library");
  sub->add_option("--overrides", s.overrides, "as for chat");
  sub->add_option("--quantization", s.quantization, "when MODEL must be converted first");
  sub->add_option("--threads", s.threads, "CPU threads")->check(CLI::PositiveNumber);
  sub->add_option("--prefill", flags->prefill, "prompt tokens")->check(CLI::Range(1, 1 << 20));
  sub->add_option("--decode", flags->decode, "generated tokens")->check(CLI::Range(1, 1 << 20));
  sub->add_option("--repeat", flags->repeat, "runs of which the median is taken")->check(CLI::Range(1, 1000));
  sub->add_flag("--json", flags->json, "print JSON");
  sub->callback([flags] { throw_if_error(bench(*flags)); });
}

}  // namespace mlc::cli
