// One measurement of llama.cpp through its C API, as one process: llama_bench MODEL.gguf THREADS [PROMPT=512] [GENERATE=128].
// Prints {"prefill_tok_s", "decode_tok_s", "load_s", "ttft_s", "peak_rss_bytes"}, the same quantities as `mlc_llm bench --json`:
//   load_s        from the first call into the library to a context that can decode
//   ttft_s        from the start of the process to the first token after a prompt of 16
//   prefill_tok_s PROMPT tokens in one call on an empty cache, after one warm-up call of 64 tokens
//   decode_tok_s  GENERATE greedy tokens, one call each, after that prompt
//   peak_rss_bytes the kernel's VmHWM of this process
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds since boot at which this process began: field 22 of /proc/self/stat, in ticks (10 ms). Fields are counted after
// the ")" that ends the program's name, which is field 2.
double process_start() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  return std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Bytes, VmHWM of /proc/self/status (getrusage would count the memory of the parent before exec too).
long long peak_rss() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmHWM:")) return std::atoll(line.c_str() + 6) * 1024;
  return 0;
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "llama_bench: %s\n", what);
  std::exit(1);
}

struct Peer {
  llama_model* model;
  llama_context* context;
  int vocabulary;

  void clear() { llama_memory_clear(llama_get_memory(context), true); }

  // Feeds the tokens after what the cache holds; returns the most likely next token.
  llama_token feed(std::vector<llama_token> tokens) {
    if (llama_decode(context, llama_batch_get_one(tokens.data(), static_cast<int>(tokens.size()))) != 0) fail("decode failed");
    const float* logits = llama_get_logits_ith(context, -1);
    return static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits);
  }
};

Peer load(const char* path, int threads, int prompt, int generate) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  ggml_backend_load_all();
  llama_model_params model_options = llama_model_default_params();
  model_options.n_gpu_layers = 0;
  llama_model* model = llama_model_load_from_file(path, model_options);
  if (!model) fail("cannot load the model");
  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<uint32_t>(std::max(prompt, 64) + generate);
  options.n_batch = static_cast<uint32_t>(std::max(prompt, 64));
  options.n_ubatch = 512;
  options.n_threads = options.n_threads_batch = threads;
  llama_context* context = llama_init_from_model(model, options);
  if (!context) fail("cannot make a context");
  return {model, context, llama_vocab_n_tokens(llama_model_get_vocab(model))};
}

// `count` token ids that differ from run to run of the list but not from run to run of the program.
std::vector<llama_token> some_tokens(int count, int vocabulary) {
  std::vector<llama_token> tokens(static_cast<size_t>(count));
  uint32_t state = 12345;
  for (llama_token& token : tokens) {
    state = state * 1664525u + 1013904223u;
    token = static_cast<llama_token>(state / 65536u % static_cast<uint32_t>(vocabulary / 2)) + vocabulary / 4;
  }
  return tokens;
}

}  // namespace

int main(int argc, char** argv) {
  const double begin = process_start();
  if (argc < 3) fail("usage: llama_bench MODEL.gguf THREADS [PROMPT=512] [GENERATE=128]");
  const int threads = std::atoi(argv[2]);
  const int prompt = argc > 3 ? std::atoi(argv[3]) : 512;
  const int generate = argc > 4 ? std::atoi(argv[4]) : 128;
  if (threads < 1 || prompt < 1 || generate < 1) fail("THREADS, PROMPT and GENERATE must be 1 or more");

  double start = seconds(CLOCK_MONOTONIC);
  Peer peer = load(argv[1], threads, prompt, generate);
  const double load_s = seconds(CLOCK_MONOTONIC) - start;
  const std::vector<llama_token> opening = some_tokens(16, peer.vocabulary);
  peer.feed(opening);
  const double ttft_s = seconds(CLOCK_BOOTTIME) - begin;

  peer.clear();
  peer.feed(some_tokens(64, peer.vocabulary));
  peer.clear();
  const std::vector<llama_token> tokens = some_tokens(prompt, peer.vocabulary);
  start = seconds(CLOCK_MONOTONIC);
  llama_token token = peer.feed(tokens);
  const double prefill_s = seconds(CLOCK_MONOTONIC) - start;
  start = seconds(CLOCK_MONOTONIC);
  for (int i = 0; i < generate; ++i) token = peer.feed({token});
  const double decode_s = seconds(CLOCK_MONOTONIC) - start;

  std::printf("{\"prefill_tok_s\": %.3f, \"decode_tok_s\": %.3f, \"load_s\": %.4f, \"ttft_s\": %.4f, \"peak_rss_bytes\": %lld}\n",
              prompt / prefill_s, generate / decode_s, load_s, ttft_s, peak_rss());
  std::fflush(stdout);
  _exit(0);  // the library's own teardown is not measured
}
