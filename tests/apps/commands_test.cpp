// The contract of the commands: flags, files and what chat keeps.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::CommandOptions;
using testing::Outcome;
using testing::run_mlc_llm;
using Names = std::vector<std::string>;

void expect_contains(const std::string& text, const Names& words) {
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in:\n" << text;
}

Outcome run_well(const Names& arguments, const CommandOptions& options = {}) {
  Outcome o = run_mlc_llm(arguments, options);
  EXPECT_EQ(o.exit_code, 0) << ::testing::PrintToString(arguments) << "\n" << o.err;
  return o;
}

// The number after `name` and a tab in the text of /metrics, its `nth` appearance.
double metric(const std::string& text, const std::string& name, int nth = 0) {
  size_t at = 0;
  for (int i = 0; i <= nth; ++i) {
    at = text.find(name + "\t", at);
    EXPECT_NE(at, std::string::npos) << name << " in " << text;
    if (at == std::string::npos) return -1;
    at += name.size() + 1;
  }
  return std::strtod(text.c_str() + at, nullptr);
}

class Commands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::Workplace;
    checkpoint_ = testing::toy_checkpoint(*shared_);
    folder_ = testing::converted(*shared_, checkpoint_, "q4f16_1", "q4");
    testing::remove_end_tokens(folder_);
    library_ = testing::compiled(*shared_, folder_, "q4.so");
  }
  static void TearDownTestSuite() { delete shared_; }

  static Outcome chat(const std::string& input) {
    return run_well({"chat", folder_, "--model-lib", library_}, {.input = input});
  }

  static inline testing::Workplace* shared_ = nullptr;
  static inline std::string checkpoint_, folder_, library_;
  testing::Workplace place_;
};

TEST_F(Commands, HelpListsTheFlags) {
  expect_contains(run_well({"--help"}).out,
                  {"convert_weight", "gen_config", "compile", "chat", "bench", "info"});
  expect_contains(run_well({}).out, {"convert_weight"});
  expect_contains(run_well({"convert_weight", "--help"}).out,
                  {"--quantization", "--model-type", "--device", "--source", "--source-format", "-o,--output",
                   "--lora-adapter"});
  expect_contains(
      run_well({"gen_config", "--help"}).out,
      {"--quantization", "--model-type", "--conv-template", "--context-window-size", "--sliding-window-size",
       "--prefill-chunk-size", "--attention-sink-size", "--tensor-parallel-shards",
       "--pipeline-parallel-stages", "--disaggregation", "--max-batch-size", "-o,--output"});
  expect_contains(run_well({"compile", "--help"}).out,
                  {"--quantization", "--model-type", "--device", "--host", "--enable-subgroups", "--opt",
                   "--system-lib-prefix", "-o,--output", "--overrides", "--debug-dump", "--stop-after",
                   "--lora-adapters", "--lora-rank"});
  expect_contains(run_well({"chat", "--help"}).out,
                  {"--device", "--model-lib", "--overrides", "--quantization", "--source", "--source-format",
                   "--ignore-extra", "--model-type", "--conv-template", "--context-window-size",
                   "--tensor-parallel-shards", "--opt", "--temperature", "--top-p", "--max-tokens", "--seed",
                   "--system-prompt"});
  expect_contains(run_well({"bench", "--help"}).out,
                  {"--prefill", "--decode", "--streams", "--repeat", "--threads", "--json"});
}

TEST_F(Commands, CompileWritesOnlyItsOutput) {
  place_.make_folder("out");
  for (const char* flags : {"O0", "O3", "flashinfer=1;cudagraph=0;ipc_allreduce_strategy=AUTO"})
    run_well({"compile", folder_, "--opt", flags, "-o", place_.path("out/a.so")});
  EXPECT_EQ(place_.list("out"), Names{"a.so"});
  Outcome o = run_well(
      {"compile", folder_ + "/mlc-chat-config.json", "--device", "llvm", "-o", place_.path("out/b.bin")});
  expect_contains(o.err, {"warning", "b.bin", ".so"});
  EXPECT_EQ(place_.list("out"), (Names{"a.so", "b.bin"}));
}

TEST_F(Commands, CompileTakesAFolderOfItsOwnWithoutWeights) {
  std::string config = place_.make_folder("config");
  place_.write("config/mlc-chat-config.json", read_file(folder_ + "/mlc-chat-config.json").value());
  testing::compiled(place_, config, "a.so",
                    {"--overrides", "context_window_size=128;prefill_chunk_size=64;max_batch_size=4"});
  expect_contains(run_well({"info", place_.path("a.so")}).out,
                  {"llama", "q4f16_1", "128 tokens", "64 tokens", "at most 4", "batch_decode"});
}

TEST_F(Commands, DebugDumpTellsTheWholeStory) {
  run_well({"compile", folder_, "-o", place_.path("a.so"), "--debug-dump", place_.path("dump")});
  Names files = place_.list("dump");
  ASSERT_GT(files.size(), 8u);
  auto has = [&](const std::string& end) {
    for (const std::string& f : files)
      if (f.ends_with(end) && file_size(place_.path("dump/" + f)).value() > 100) return true;
    return false;
  };
  EXPECT_EQ(files[0].substr(files[0].find('-')), "-frontend.txt");
  EXPECT_TRUE(has("-plan.txt"));
  EXPECT_TRUE(has("-kernels.ll"));
  EXPECT_TRUE(has("-kernels.s"));
  std::set<int> numbers;  // 0, 1, 2, ... in the order of writing
  for (const std::string& f : files) numbers.insert(std::atoi(f.c_str()));
  EXPECT_EQ(numbers.size(), files.size());
  EXPECT_EQ(*numbers.begin(), 0);
  EXPECT_EQ(*numbers.rbegin(), static_cast<int>(files.size()) - 1);
}

TEST_F(Commands, StopAfterWritesNoLibrary) {
  for (const char* phase : {"frontend", "graph", "plan", "kernel", "lang"}) {
    run_well({"compile", folder_, "-o", place_.path("a.so"), "--stop-after", phase, "--debug-dump",
              place_.path(phase)});
    EXPECT_FALSE(file_exists(place_.path("a.so"))) << phase;
    bool assembly = false;
    for (const std::string& f : place_.list(phase)) assembly |= f.ends_with(".s");
    EXPECT_EQ(assembly, std::string(phase) == "lang");
  }
}

TEST_F(Commands, ChatAnswersPipedLines) {
  Outcome o = chat("/help\n/set max_tokens=4;temperature=0;seed=7\nhello\n\n/stats\n/exit\nnever read\n");
  expect_contains(
      o.out, {"/help", "/exit", "/stats", "/reset", "/set", "prefill: ", " tok/s, decode: ", " tok/s\n"});
  EXPECT_EQ(o.out.find(">>> "), std::string::npos);
  EXPECT_EQ(o.err, "");
}

// Merged by the conversion or beside the weights: the answers are not the base's.
TEST_F(Commands, AnAdapterAnswers) {
  const std::string adapter = std::string(MLC_SOURCE_DIR) + "/tests/data/models/llama_lora/patterns";
  const std::string base = testing::converted(place_, checkpoint_, "q0f32", "base"),
                    merged = place_.path("merged");
  std::filesystem::copy(base, merged);  // config and tokenizer; the weights are written anew
  const Outcome converted = run_well(
      {"convert_weight", checkpoint_, "--quantization", "q0f32", "--lora-adapter", adapter, "-o", merged});
  expect_contains(converted.err, {adapter, "merged into 13 tensors, rank 8"});
  const auto answer = [&](Names arguments) {
    arguments.insert(arguments.begin(), "chat");
    arguments.insert(arguments.end(), {"--temperature", "0", "--max-tokens", "4", "--opt", "O0"});
    return run_well(arguments, {.input = "hello\n", .environment = {{"MLC_LLM_HOME", place_.path("home")}}})
        .out;
  };
  const std::string of_base = answer({base}), beside = answer({base, "--lora-adapter", adapter});
  EXPECT_NE(of_base, beside);
  EXPECT_NE(answer({merged}), of_base);
}

TEST_F(Commands, ChatAnswersTheSameForTheSameSeed) {
  std::string input = "/set max_tokens=12;temperature=1;seed=3\nhello\n";
  std::string first = chat(input).out;
  EXPECT_GT(first.size(), 1u);
  EXPECT_EQ(first, chat(input).out);
  EXPECT_EQ(first,
            run_well({"chat", folder_, "--model-lib", library_, "--threads", "1"}, {.input = input}).out);
}

TEST_F(Commands, ASecondTurnPrefillsOnlyWhatIsNew) {
  Outcome o = chat(
      "/set max_tokens=3;temperature=0\nhello there\n/metrics\nagain\n/metrics\n/reset\nhello "
      "there\n/metrics\n");
  double first = metric(o.out, "last_prompt_tokens", 0), second = metric(o.out, "last_prompt_tokens", 1);
  EXPECT_EQ(metric(o.out, "last_prefilled_tokens", 0), first);
  EXPECT_GT(second, first);
  EXPECT_LE(metric(o.out, "last_prefilled_tokens", 1), second - first);
  EXPECT_EQ(metric(o.out, "last_prompt_tokens", 2), first);     // /reset forgot the conversation
  EXPECT_EQ(metric(o.out, "last_prefilled_tokens", 2), first);  // and the cache
  EXPECT_EQ(metric(o.out, "finished_requests", 2), 3);
}

TEST_F(Commands, StopStringsEndAnAnswer) {
  std::string full = chat("/set max_tokens=12;temperature=0\nhello\n").out;
  ASSERT_GT(full.size(), 6u);
  std::string middle;  // an ASCII letter of the answer that does not begin it
  for (size_t i = 1; i < full.size() && middle.empty(); ++i)
    if (std::isalnum(static_cast<unsigned char>(full[i])) && full.find(full[i]) == i) middle = full[i];
  ASSERT_FALSE(middle.empty()) << full;
  std::string cut = chat("/set max_tokens=12;temperature=0;stop=" + middle + "\nhello\n").out;
  EXPECT_EQ(cut, full.substr(0, full.find(middle)) + "\n");
}

TEST_F(Commands, ALongAnswerFillsTheContextAndSaysSo) {
  Outcome o = chat("/set temperature=1;seed=1;repetition_penalty=1.5\n" + std::string(200, '7') + "\nhi\n");
  expect_contains(o.err, {"the context is full", "/reset"});
}

TEST_F(Commands, ChatConvertsAndCompilesOnce) {
  CommandOptions home{.environment = {{"MLC_LLM_HOME", place_.path("home")}}};
  Names arguments = {"chat", checkpoint_, "--quantization", "q0f32", "--prompt", "hi", "--max-tokens", "4"};
  Outcome first = run_well(arguments, home);
  expect_contains(first.err, {"converting to q0f32", "compiling for"});
  EXPECT_EQ(first.out.find("Wrote"), std::string::npos);
  Names cached = place_.list("home");
  Outcome second = run_well(arguments, home);
  EXPECT_EQ(second.err, "");
  EXPECT_EQ(place_.list("home"), cached);
  Outcome other = run_well({"chat", checkpoint_, "--quantization", "q4f16_1", "--prompt", "hi"}, home);
  expect_contains(other.err, {"converting to q4f16_1", "compiling for"});
}

TEST_F(Commands, ConversionsByTheWayChooseTheQuantizerBySize) {
  // The index of weights that `arguments` convert for themselves: digests of all shards.
  auto index_of = [&](const char* home, const Names& arguments, const Names& said) {
    const Outcome o = run_well(arguments, {.environment = {{"MLC_LLM_HOME", place_.path(home)}}});
    expect_contains(o.err, said);
    for (const auto& file : std::filesystem::recursive_directory_iterator(place_.path(home)))
      if (file.path().filename() == "tensor-cache.json") return *read_file(file.path().string());
    return std::string();
  };
  auto converted_by = [&](const std::string& quantizer) {
    const std::string out = place_.path("by_" + quantizer);
    run_well(
        {"convert_weight", checkpoint_, "--quantization", "q4f16_1", "--quantizer", quantizer, "-o", out});
    return *read_file(out + "/tensor-cache.json");
  };
  const Names chat = {"chat", checkpoint_, "--prompt", "hi", "--max-tokens", "1"};
  const Names bench = {"bench",    checkpoint_, "--prefill",     "2", "--decode", "2",
                       "--repeat", "1",         "--no-bandwidth"};
  const std::string good = converted_by("good"), by_mlc = converted_by("mlc");
  EXPECT_NE(good, by_mlc);
  EXPECT_EQ(index_of("chat", chat, {"--quantizer good, as for models of up to 3B parameters (this one has "}),
            good);
  EXPECT_EQ(index_of("bench", bench, {"--quantizer good, as for"}), good);
  Names named = chat;
  named.insert(named.end(), {"--quantizer", "mlc"});
  EXPECT_EQ(index_of("named", named, {"converting to q4f16_1"}), by_mlc);
  named.back() = "bset";
  testing::expect_error(run_mlc_llm(named), {"--quantizer: found 'bset', expected mlc, good or best"});
  testing::expect_error(run_mlc_llm({"chat", checkpoint_, "--quantization", "q0f32", "--quantizer", "best"}),
                        {"--quantizer: q0f32 has no codes to choose"});
  testing::expect_error(run_mlc_llm({"chat", folder_, "--quantizer", "good"}),
                        {"--quantizer: ", "is converted already"});
}

TEST_F(Commands, JitPolicies) {
  auto with = [&](const std::string& policy) {
    return run_mlc_llm({"chat", folder_, "--prompt", "hi", "--max-tokens", "4"},
                       {.environment = {{"MLC_LLM_HOME", place_.path("home")}, {"MLC_JIT_POLICY", policy}}});
  };
  testing::expect_error(with("OFF"), {"MLC_JIT_POLICY", "OFF", "--model-lib"});
  testing::expect_error(with("READONLY"), {"MLC_JIT_POLICY", "READONLY", "--model-lib"});
  EXPECT_EQ(place_.list("home"), Names{});
  expect_contains(with("ON").err, {"compiling for"});
  EXPECT_EQ(with("ON").err, "");
  EXPECT_EQ(with("READONLY").err, "");
  expect_contains(with("REDO").err, {"compiling for"});
  testing::expect_error(with("OFF"), {"MLC_JIT_POLICY"});  // cached or not
}

TEST_F(Commands, ADamagedCachedLibraryIsCompiledAgain) {
  CommandOptions home{.environment = {{"MLC_LLM_HOME", place_.path("home")}}};
  Names arguments = {"chat", folder_, "--prompt", "hi", "--max-tokens", "4"};
  run_well(arguments, home);
  for (const std::string& name : place_.list("home"))
    if (name.ends_with(".so")) place_.write("home/" + name, "cut");
  expect_contains(run_well(arguments, home).err, {"compiling for"});
  EXPECT_EQ(run_well(arguments, home).err, "");
}

TEST_F(Commands, BenchReportsJson) {
  Names arguments = {"bench",    folder_, "--model-lib", library_, "--prefill", "32",
                     "--decode", "8",     "--repeat",    "2",      "--threads", "1"};
  Names json_arguments = arguments;
  json_arguments.push_back("--json");
  Outcome o = run_well(json_arguments);
  auto parsed = parse_json(o.out, "bench");
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().message();
  const Json& r = *parsed;
  EXPECT_EQ(r["threads"], 1);
  EXPECT_EQ(r["prefill_tokens"], 32);
  EXPECT_EQ(r["decode_tokens"], 8);
  for (const char* key :
       {"prefill_tok_s", "decode_tok_s", "load_s", "ttft_s", "read_bandwidth_bytes_s", "bandwidth_share"})
    EXPECT_GT(r[key].get<double>(), 0) << key;
  EXPECT_GT(r["ttft_s"].get<double>(),
            r["load_s"].get<double>() - 0.01);  // it counts from the start of the process
  EXPECT_GT(r["token_bytes"].get<int64_t>(), 100000);
  // The peak is the process's before the buffer of the bandwidth (384 MiB), which the whole run includes.
  EXPECT_GT(r["peak_rss_bytes"].get<int64_t>(), int64_t{1} << 20);
  EXPECT_LT(r["peak_rss_bytes"].get<int64_t>(), o.peak_bytes - (int64_t{300} << 20));
  expect_contains(run_well(arguments).out,
                  {"prefill", "decode", "tok/s", "load", "first token", "peak memory", "bandwidth"});
}

TEST_F(Commands, BenchRunsStreams) {
  Outcome o = run_well({"bench", folder_, "--model-lib", library_, "--prefill", "8", "--decode", "4",
                        "--streams", "2", "--repeat", "1", "--no-bandwidth", "--json"});
  auto r = parse_json(o.out, "bench");
  ASSERT_TRUE(r.is_ok()) << r.status().message();
  EXPECT_EQ((*r)["streams"], 2);
  EXPECT_GT((*r)["decode_tok_s"].get<double>(), 0);
  EXPECT_FALSE(r->contains("read_bandwidth_bytes_s"));
}

TEST_F(Commands, InfoDescribesFoldersAndLibraries) {
  expect_contains(run_well({"info", folder_}).out,
                  {"llama", "q4f16_1", "256 tokens", "answers end at", "tensor-cache.json", "25 tensors"});
  expect_contains(run_well({"info", library_}).out,
                  {"q4.so", "llama", "q4f16_1", "variants", "ABI version", "functions", "kv cache"});
  expect_contains(run_well({"info", library_, "--tensors"}).out, {"model.norm.weight"});
}

}  // namespace
}  // namespace mlc
