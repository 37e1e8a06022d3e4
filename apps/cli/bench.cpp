// mlc_llm bench: how fast a model runs here, beside what this machine's memory can deliver in the same run.
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <set>
#include <span>
#include <thread>

#include "apps/cli/bench_count.h"
#include "apps/cli/commands.h"
#include "apps/cli/session.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  SessionFlags session;
  int64_t prefill = 512, decode = 128, streams = 1, repeat = 5;
  bool json = false, no_bandwidth = false, count = false;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string proc_text(const char* path) {  // files of /proc say that they are empty, so no mapping
  std::string text;
  if (FILE* f = std::fopen(path, "r")) {
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) text.append(buffer, n);
    std::fclose(f);
  }
  return text;
}

// Seconds since the kernel made this process, in steps of a clock tick (10 ms): field 22 of /proc/self/stat,
// which counts from boot. The program's name in parentheses is field 2 and may hold spaces.
double seconds_since_process_start() {
  std::string stat = proc_text("/proc/self/stat");
  size_t end = stat.rfind(')');
  if (end == std::string::npos) return 0;
  std::vector<std::string> fields = split(std::string_view(stat).substr(end + 2), ' ');  // from field 3
  if (fields.size() < 20) return 0;
  double started = std::strtod(fields[22 - 3].c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
  struct timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 - started;
}

// The most memory this process has held at once (VmHWM; ru_maxrss would count its parent's too).
int64_t peak_memory_bytes() {
  std::string status = proc_text("/proc/self/status");
  size_t at = status.find("VmHWM:");
  return at == std::string::npos ? 0 : std::strtoll(status.c_str() + at + 6, nullptr, 10) * 1024;  // in kB
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

constexpr size_t kLine = 8;  // words of a cache line

// The sum of words. Eight runs of them side by side, each asked for 16 lines ahead: one after the other a
// core of the Xeon this was measured on reads 7 GB/s, so 12.
uint64_t sum_of(std::span<const uint64_t> words) {
  constexpr size_t kRuns = 8, kAhead = 16 * kLine;
  const size_t length = words.size() / kRuns / kLine * kLine;
  std::array<uint64_t, kLine> sums{};  // as many chains, so that additions do not limit the loads
  for (size_t i = 0; i < length; i += kLine)
    for (size_t run = 0; run < kRuns; ++run) {
      const uint64_t* line = words.data() + run * length + i;
      __builtin_prefetch(line + kAhead);
      for (size_t k = 0; k < kLine; ++k) sums[k] += line[k];
    }
  return std::accumulate(sums.begin(), sums.end(), uint64_t{0});
}

// Bytes per second that `threads` threads together read from memory: sums over a buffer far larger than any
// cache, the best of three passes.
double read_bandwidth(int threads) {
  constexpr size_t kWords = size_t{48} << 20;  // 48 Mi words of 8 bytes = 384 MiB
  const std::vector<uint64_t> data(kWords, 1);
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  const size_t part = kWords / static_cast<size_t>(threads);
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    auto start = Clock::now();
    std::vector<std::thread> workers;
    for (size_t t = 0; t < sums.size(); ++t)
      workers.emplace_back([&, t] { sums[t] = sum_of(std::span(data).subspan(t * part, part)); });
    for (std::thread& w : workers) w.join();
    best = std::max(best, kWords * sizeof(uint64_t) / seconds_since(start));
  }
  internal_check(std::accumulate(sums.begin(), sums.end(), uint64_t{0}) > 0, "the sums are of ones");
  return best;
}

struct Measurement {
  double prefill_tok_s = 0, decode_tok_s = 0;
};

constexpr runtime::SequenceId kSequence = 1 << 30;  // the first stream's; the others follow

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Runs the prompt on a fresh sequence; returns the token after it.
Result<int32_t> prefill(runtime::Model& model, std::span<const int32_t> prompt,
                        runtime::SequenceId id = kSequence) {
  RETURN_IF_ERROR(model.sequences().add(id));
  int32_t token = 0;
  for (size_t done = 0; done < prompt.size();) {
    size_t n = std::min(prompt.size() - done, static_cast<size_t>(model.prefill_chunk()));
    runtime::StepSequence step{id, prompt.subspan(done, n)};
    bool last = done + n == prompt.size();
    ASSIGN_OR_RETURN(auto logits,
                     model.step({&step, 1}, last ? runtime::WantLogits::kLast : runtime::WantLogits::kNone));
    if (last) token = most_likely(logits);
    done += n;
  }
  return token;
}

// Each step gives every stream its most likely next token.
Status decode(runtime::Model& model, std::vector<int32_t>& tokens, int64_t count) {
  const size_t vocab = static_cast<size_t>(model.vocab_size());
  for (int64_t i = 0; i < count; ++i) {
    std::vector<runtime::StepSequence> steps;
    for (size_t s = 0; s < tokens.size(); ++s)
      steps.push_back({kSequence + static_cast<runtime::SequenceId>(s), {&tokens[s], 1}});
    ASSIGN_OR_RETURN(auto logits, model.step(steps, runtime::WantLogits::kLast));
    for (size_t s = 0; s < tokens.size(); ++s) tokens[s] = most_likely(logits.subspan(s * vocab, vocab));
  }
  return Status::ok();
}

Result<Measurement> measure(runtime::Model& model, const Flags& flags, const std::vector<int32_t>& prompt) {
  Measurement m;
  const double streams = static_cast<double>(flags.streams);
  std::vector<int32_t> tokens(static_cast<size_t>(flags.streams));
  auto start = Clock::now();
  for (size_t s = 0; s < tokens.size(); ++s) {
    ASSIGN_OR_RETURN(tokens[s], prefill(model, prompt, kSequence + static_cast<runtime::SequenceId>(s)));
  }
  m.prefill_tok_s = streams * static_cast<double>(prompt.size()) / seconds_since(start);
  start = Clock::now();
  RETURN_IF_ERROR(decode(model, tokens, flags.decode));
  m.decode_tok_s = streams * static_cast<double>(flags.decode) / seconds_since(start);
  for (size_t s = 0; s < tokens.size(); ++s)
    RETURN_IF_ERROR(model.sequences().remove(kSequence + static_cast<runtime::SequenceId>(s)));
  return m;
}

// Any tokens do: the work does not depend on them.
std::vector<int32_t> some_tokens(int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((i * 7919 + 17) % vocab));
  return tokens;
}

// Seconds from the start of the process to the first token after a prompt of 16, on a model that has computed
// nothing yet.
Result<double> first_token_seconds(runtime::Model& model) {
  std::vector<int32_t> prompt =
      some_tokens(std::min<int64_t>(16, model.context_tokens()), model.vocab_size());
  RETURN_IF_ERROR(prefill(model, prompt).status());
  double seconds = seconds_since_process_start();
  RETURN_IF_ERROR(model.sequences().remove(kSequence));
  return seconds;
}

// Memory that every decoded token reads: the weights that a step of one row binds, with their layers and
// logits, but not those of `embed`, of which it reads one row.
int64_t bytes_per_token(const Plan& plan) {
  const PlanFunction* decode = plan.find_function("decode");
  std::set<uint32_t> read;
  for (const PlanCall& call : decode->bodies.front().calls)
    for (const PlanBuffer& buffer : call.buffers)
      if (buffer.space == PlanBuffer::Space::kWeight) read.insert(buffer.index);
  int64_t bytes = 0;
  for (uint32_t weight : read) bytes += plan.weights[weight].bytes;
  return bytes;
}

// What a run yields beside tokens per second.
struct Totals {
  double first_token_s = 0, bandwidth = 0;
  int64_t peak_bytes = 0;
};

Json report(const Session& session, const Flags& flags, const std::vector<Measurement>& runs,
            const Totals& totals) {
  auto pick = [&](double Measurement::* field) {
    std::vector<double> values;
    for (const Measurement& m : runs) values.push_back(m.*field);
    return median(values);
  };
  int64_t token_bytes = bytes_per_token(session.module->plan());
  double decode = pick(&Measurement::decode_tok_s);
  Json r = {{"model", session.folder},
            {"variant", session.module->variant()},
            {"threads", session.device->properties.threads},
            {"prefill_tokens", flags.prefill},
            {"decode_tokens", flags.decode},
            {"streams", flags.streams},
            {"prefill_tok_s", pick(&Measurement::prefill_tok_s)},
            {"decode_tok_s", decode},
            {"load_s", session.load_seconds},
            {"ttft_s", totals.first_token_s},
            {"peak_rss_bytes", totals.peak_bytes},
            {"token_bytes", token_bytes}};
  if (flags.no_bandwidth) return r;
  r["read_bandwidth_bytes_s"] = totals.bandwidth;
  // A step of several streams reads the weights once.
  double steps = decode / static_cast<double>(flags.streams);
  r["bandwidth_share"] = steps * static_cast<double>(token_bytes) / totals.bandwidth;
  return r;
}

void print_table(const Json& r) {
  auto number = [&](const char* key) { return r[key].get<double>(); };
  std::printf("%s on %s, %d threads\n", printable(r["model"].get<std::string>()).c_str(),
              r["variant"].get<std::string>().c_str(), r["threads"].get<int>());
  std::printf("  prefill %5lld tokens   %10.1f tok/s\n",
              static_cast<long long>(r["prefill_tokens"].get<int64_t>()), number("prefill_tok_s"));
  std::printf("  decode  %5lld tokens   %10.1f tok/s",
              static_cast<long long>(r["decode_tokens"].get<int64_t>()), number("decode_tok_s"));
  if (int64_t streams = r["streams"].get<int64_t>(); streams > 1)
    std::printf(" of %lld streams", static_cast<long long>(streams));
  if (r.contains("bandwidth_share"))
    std::printf("   %.0f %% of the read bandwidth (%s/s)", 100 * number("bandwidth_share"),
                human_bytes(number("read_bandwidth_bytes_s")).c_str());
  std::printf("\n");
  std::printf("  load %.2f s, process start to first token %.2f s, peak memory %s\n", number("load_s"),
              number("ttft_s"), human_bytes(number("peak_rss_bytes")).c_str());
}

Status bench(Flags flags) {
  if (flags.count)
    return print_counts(flags.session.checkpoint.source.config, flags.session.device, flags.prefill);
  flags.session.sequences = flags.streams;
  if (flags.streams > 1) flags.session.total_tokens = flags.streams * (flags.prefill + flags.decode);
  ASSIGN_OR_RETURN(auto session, open_session(flags.session));
  if (session->model->gives_embeddings())
    return Status::error(str("MODEL: ", session->name,
                             " gives embeddings and generates nothing; bench measures models that do"));
  int64_t context = session->model->context_tokens();
  if (flags.prefill + flags.decode > context)
    return Status::error(str("--prefill: ", flags.prefill, " + --decode ", flags.decode,
                             " tokens are more than the context of ", context,
                             "; lower them or raise --context-window-size"));
  Totals totals;
  ASSIGN_OR_RETURN(totals.first_token_s, first_token_seconds(*session->model));
  std::vector<int32_t> prompt = some_tokens(flags.prefill, session->model->vocab_size());
  std::vector<Measurement> runs;
  for (int64_t i = 0; i <= flags.repeat; ++i) {
    ASSIGN_OR_RETURN(Measurement m, measure(*session->model, flags, prompt));
    if (i > 0) runs.push_back(m);  // the first warms up
  }
  totals.peak_bytes = peak_memory_bytes();  // before the buffer of the bandwidth
  if (!flags.no_bandwidth) totals.bandwidth = read_bandwidth(session->device->properties.threads);
  Json r = report(*session, flags, runs, totals);
  if (flags.json)
    std::printf("%s\n", json_text(r, 2).c_str());
  else
    print_table(r);
  return Status::ok();
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "bench", "Measure a model: tokens per second, memory, share of the machine's bandwidth");
  add_session_flags(*sub, flags->session);
  add_lora_flag(*sub, flags->session.lora);
  sub->add_option("--prefill", flags->prefill, "prompt tokens")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  sub->add_option("--decode", flags->decode, "generated tokens")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  sub->add_option("--streams", flags->streams,
                  "sequences that run at once, each with that prompt and those tokens")
      ->check(whole_number(1, 1024))
      ->capture_default_str();
  sub->add_option("--repeat", flags->repeat, "runs of which the median is taken")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  sub->add_flag("--no-bandwidth", flags->no_bandwidth, "do not measure the memory's read bandwidth");
  sub->add_flag("--json", flags->json, "print JSON");
  sub->add_flag("--count", flags->count,
                "count what GPU kernels do to memory instead of measuring; needs no GPU");
  sub->callback([flags] { throw_if_error(bench(*flags)); });
}

}  // namespace mlc::cli
