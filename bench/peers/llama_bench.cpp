// One measurement of llama.cpp (with -DLLAMA_BACKENDS on a GPU) or, with -DIK_LLAMA, of ik_llama.cpp through
// their C APIs, as one process:
//   llama_bench MODEL.gguf THREADS [PROMPT=512] [GENERATE=128] [STREAMS=1]
// Prints {"prefill_tok_s", "decode_tok_s", "load_s", "ttft_s", "peak_rss_bytes"}, the same quantities as
// `mlc_llm bench --json`:
//   load_s        from the first call into the library to a context that can decode
//   ttft_s        from the start of the process to the first token after a prompt of 16
//   prefill_tok_s PROMPT tokens on an empty cache, in calls of at most 512, after one warm-up call of 64
//   tokens decode_tok_s  GENERATE greedy tokens of each of STREAMS sequences, one call for all sequences'
//   next tokens, after that
//                 prompt; tokens of all sequences together
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

#ifndef IK_LLAMA
#include "ggml-backend.h"
#endif
#include "llama.h"

namespace {

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds since boot at which this process began: field 22 of /proc/self/stat, in ticks (10 ms). Fields are
// counted after the ")" that ends the program's name, which is field 2.
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

#ifdef IK_LLAMA
constexpr int kGpuLayers = 0;
void load_backends() {}
void clear_cache(llama_context* context) { llama_kv_cache_clear(context); }
int vocabulary_of(const llama_model* model) { return llama_n_vocab(model); }
#else
#ifdef LLAMA_BACKENDS  // a folder with a GPU's backend beside the CPU's
constexpr int kGpuLayers = 999;
void load_backends() { ggml_backend_load_all_from_path(LLAMA_BACKENDS); }
#else
constexpr int kGpuLayers = 0;
void load_backends() { ggml_backend_load_all(); }
#endif
void clear_cache(llama_context* context) { llama_memory_clear(llama_get_memory(context), true); }
int vocabulary_of(const llama_model* model) { return llama_vocab_n_tokens(llama_model_get_vocab(model)); }
#endif

struct Peer {
  llama_model* model;
  llama_context* context;
  int vocabulary;
  llama_batch batch;

  void clear() {
    clear_cache(context);
    batch.n_tokens = 0;
  }

  void add(llama_token token, int position, int sequence, bool logits) {
    int i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = position;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = sequence;
    batch.logits[i] = logits;
  }

  void decode() {
    if (llama_decode(context, batch) != 0) fail("decode failed");
    batch.n_tokens = 0;
  }

  llama_token most_likely(int output) {
    const float* logits = llama_get_logits_ith(context, output);
    return static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits);
  }

  // Feeds a sequence's first tokens; returns the most likely next one.
  llama_token prefill(const std::vector<llama_token>& tokens, int sequence = 0) {
    int last = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      add(tokens[i], static_cast<int>(i), sequence, i + 1 == tokens.size());
      last = batch.n_tokens - 1;
      if (batch.n_tokens == kCall || i + 1 == tokens.size()) decode();
    }
    return most_likely(last);
  }

  // Generates from all sequences at once, one call per step.
  void generate(std::vector<llama_token> tokens, int position, int count) {
    for (int i = 0; i < count; ++i) {
      for (size_t s = 0; s < tokens.size(); ++s) add(tokens[s], position + i, static_cast<int>(s), true);
      decode();
      for (size_t s = 0; s < tokens.size(); ++s) tokens[s] = most_likely(static_cast<int>(s));
    }
  }

  static constexpr int kCall = 512;
};

Peer load(const char* path, int threads, int context_tokens, int streams) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  load_backends();
  llama_model_params model_options = llama_model_default_params();
  model_options.n_gpu_layers = kGpuLayers;
#ifdef IK_LLAMA
  model_options.use_mmap = false;  // what its own documentation advises for speed: repacked weights
  model_options.repack_tensors = true;
#endif
  llama_model* model = llama_model_load_from_file(path, model_options);
  if (!model) fail("cannot load the model");
  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<uint32_t>(context_tokens);
  options.n_batch = options.n_ubatch = Peer::kCall;
  options.n_seq_max = static_cast<uint32_t>(streams);
  options.n_threads = options.n_threads_batch = threads;
#ifdef IK_LLAMA
  options.flash_attn = false;  // its assertion `S > 0` fails on SmolLM2 otherwise
#endif
  llama_context* context = llama_init_from_model(model, options);
  if (!context) fail("cannot make a context");
  return {model, context, vocabulary_of(model), llama_batch_init(Peer::kCall, 0, 1)};
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
  if (argc < 3) fail("usage: llama_bench MODEL.gguf THREADS [PROMPT=512] [GENERATE=128] [STREAMS=1]");
  const int threads = std::atoi(argv[2]);
  const int prompt = argc > 3 ? std::atoi(argv[3]) : 512;
  const int generate = argc > 4 ? std::atoi(argv[4]) : 128;
  const int streams = argc > 5 ? std::atoi(argv[5]) : 1;
  if (threads < 1 || prompt < 1 || generate < 1 || streams < 1)
    fail("THREADS, PROMPT, GENERATE and STREAMS must be 1 or more");

  double start = seconds(CLOCK_MONOTONIC);
  Peer peer =
      load(argv[1], threads, streams * ((std::max(prompt, 64) + generate + 255) / 256 * 256), streams);
  const double load_s = seconds(CLOCK_MONOTONIC) - start;
  peer.prefill(some_tokens(16, peer.vocabulary));
  const double ttft_s = seconds(CLOCK_BOOTTIME) - begin;

  peer.clear();
  peer.prefill(some_tokens(64, peer.vocabulary));
  peer.clear();
  const std::vector<llama_token> tokens = some_tokens(prompt, peer.vocabulary);
  start = seconds(CLOCK_MONOTONIC);
  std::vector<llama_token> next;
  for (int s = 0; s < streams; ++s) next.push_back(peer.prefill(tokens, s));
  const double prefill_s = seconds(CLOCK_MONOTONIC) - start;
  start = seconds(CLOCK_MONOTONIC);
  peer.generate(next, prompt, generate);
  const double decode_s = seconds(CLOCK_MONOTONIC) - start;

  std::printf(
      "{\"prefill_tok_s\": %.3f, \"decode_tok_s\": %.3f, \"load_s\": %.4f, \"ttft_s\": %.4f, "
      "\"peak_rss_bytes\": %lld}\n",
      streams * prompt / prefill_s, streams * generate / decode_s, load_s, ttft_s, peak_rss());
  std::fflush(stdout);
  _exit(0);  // the library's own teardown is not measured
}
