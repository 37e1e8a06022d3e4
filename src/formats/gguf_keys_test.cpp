// Metadata keys: those of real files get no word, and every one that is not applied is named.
#include "formats/gguf_keys.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/strings.h"
#include "formats/build_files.h"
#include "formats/gguf_names.h"

namespace mlc {
namespace {

using mlc::testing::bytes_of;
using mlc::testing::GgufFile;
using mlc::testing::packed;

// A model of head size 4 and context 64, with the keys that llama.cpp's converter writes.
GgufFile file_of(const std::string& arch) {
  GgufFile f;
  f.text("general.architecture", arch)
      .text("general.type", "model")
      .text("general.name", "toy")
      .count("general.file_type", 0);
  for (auto [name, value] : std::vector<std::pair<const char*, uint32_t>>{{"block_count", 1},
                                                                          {"context_length", 64},
                                                                          {"embedding_length", 8},
                                                                          {"feed_forward_length", 16},
                                                                          {"attention.head_count", 2},
                                                                          {"vocab_size", 4},
                                                                          {"attention.key_length", 4},
                                                                          {"attention.value_length", 4},
                                                                          {"rope.dimension_count", 4}})
    f.count(str(arch, ".", name), value);
  if (arch != "gptneox") f.count(arch + ".attention.head_count_kv", 1);
  f.real(str(arch, arch == "gptneox" ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon"),
         1e-5f);
  f.real(arch + ".rope.freq_base", 100000.f).count("general.quantization_version", 2);
  if (arch == "gptneox") f.number<uint8_t>("gptneox.use_parallel_residual", 7, 1);
  f.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "smollm");
  f.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab"}).texts("tokenizer.ggml.merges", {"a b"});
  f.count("tokenizer.ggml.bos_token_id", 0).number<uint8_t>("tokenizer.ggml.add_bos_token", 7, 0);
  f.text("tokenizer.chat_template", "{{ bos_token }}")
      .text("quantize.imatrix.file", "m.dat")
      .count("split.count", 0);
  f.tensor("token_embd.weight", {8, 4}, 0, packed(std::vector<float>(32, 1)));
  return f;
}

// The refusal, or the notes.
std::string said_of(const GgufFile& file) {
  const std::string bytes = file.build();
  auto gguf = parse_gguf(bytes_of(bytes), "m.gguf");
  if (!gguf.is_ok()) return gguf.status().message();
  auto config = gguf_config(*gguf, bytes_of(bytes), "m.gguf");
  if (!config.is_ok()) return config.status().message();
  std::vector<std::string> notes;
  const Status status = check_gguf_keys(*gguf, *config, "m.gguf", notes);
  return status.is_ok() ? join(notes, "\n") : status.message();
}

const std::vector<std::string> kArchitectures = {"llama", "qwen2", "gptneox"};

TEST(GgufKeys, UsualFilesGetNoWord) {
  for (const std::string& arch : kArchitectures) EXPECT_EQ(said_of(file_of(arch)), "") << arch;
}

TEST(GgufKeys, EveryKeyThatIsNotAppliedIsNamed) {
  struct {
    const char* name;
    float value;
  } const extras[] = {{"attn_logit_softcapping", 50},
                      {"final_logit_softcapping", 30},
                      {"expert_count", 8},
                      {"expert_used_count", 2},
                      {"attention.sliding_window", 16},
                      {"attention.clamp_kqv", 8},
                      {"attention.max_alibi_bias", 8},
                      {"logit_scale", 0.5},
                      {"residual_scale", 0.25},
                      {"embedding_scale", 12},
                      {"attention.scale", 0.25},
                      {"rope.scaling.attn_factor", 2},
                      {"rope.scaling.yarn_log_multiplier", 1},
                      {"rope.freq_base_swa", 10000},
                      {"attention.causal", 0},
                      {"pooling_type", 1},
                      {"rope.dimension_sections", 3},
                      {"something_new", 3}};
  for (const std::string& arch : kArchitectures)
    for (const auto& extra : extras) {
      const std::string key = str(arch, ".", extra.name),
                        said = said_of(file_of(arch).real(key, extra.value));
      EXPECT_NE(said.find(key), std::string::npos) << key << ": " << said;
    }
  for (const char* key : {"general.sampling.top_k", "general.sampling.min_p", "tokenizer.ggml.something_new"})
    EXPECT_NE(said_of(file_of("llama").count(key, 3)).find(key), std::string::npos) << key;
  EXPECT_NE(
      said_of(file_of("llama").real("llama.attention.layer_norm_epsilon", 1e-3f)).find("layer_norm_epsilon"),
      std::string::npos);
  EXPECT_NE(
      said_of(file_of("gptneox").real("gptneox.attention.layer_norm_rms_epsilon", 1e-3f)).find("rms_epsilon"),
      std::string::npos);
  EXPECT_NE(said_of(file_of("llama").array<int32_t>("llama.attention.sliding_window", 5, {0, 16}))
                .find("sliding_window"),
            std::string::npos);
}

TEST(GgufKeys, ValuesThatChangeNothingGetNoWord) {
  struct {
    const char* name;
    float value;
  } const extras[] = {{"attn_logit_softcapping", 0},
                      {"expert_count", 0},
                      {"attention.sliding_window", 64},
                      {"logit_scale", 1},
                      {"residual_scale", 0},
                      {"attention.scale", 0.5},
                      {"attention.causal", 1},
                      {"rope.scaling.attn_factor", 1},
                      {"rope.scaling.finetuned", 1}};
  for (const std::string& arch : kArchitectures)
    for (const auto& extra : extras)
      EXPECT_EQ(said_of(file_of(arch).real(str(arch, ".", extra.name), extra.value)), "")
          << arch << " " << extra.name;
}

TEST(GgufKeys, HeadSizesMustAgree) {
  GgufFile f;
  f.text("general.architecture", "llama");
  for (auto [name, value] : std::vector<std::pair<const char*, uint32_t>>{{"block_count", 1},
                                                                          {"context_length", 64},
                                                                          {"embedding_length", 8},
                                                                          {"feed_forward_length", 16},
                                                                          {"attention.head_count", 2}})
    f.count(str("llama.", name), value);
  f.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  f.tensor("token_embd.weight", {8, 4}, 0, packed(std::vector<float>(32, 1)));
  GgufFile partial = f, values = f, adapter = f;
  EXPECT_NE(said_of(partial.count("llama.rope.dimension_count", 2))
                .find("'llama.rope.dimension_count' is 2; expected 4"),
            std::string::npos);
  EXPECT_NE(said_of(values.count("llama.attention.value_length", 8)).find("value_length' is 8; expected 4"),
            std::string::npos);
  EXPECT_NE(said_of(adapter.text("general.type", "adapter")).find("general.type is 'adapter'"),
            std::string::npos);
}

TEST(GgufSampling, WhatTheFileSaysElseMlcsDocuments) {
  auto sampling = [](GgufFile file) {
    const std::string bytes = file.build();
    const Json config = gguf_config(*parse_gguf(bytes_of(bytes), "m"), bytes_of(bytes), "m").value();
    return str(config["temperature"].dump(), " ", config.value("top_p", Json()).dump());
  };
  EXPECT_EQ(sampling(file_of("llama")), "0.7 0.95");
  EXPECT_EQ(sampling(file_of("llama").real("general.sampling.temp", 0)), "0.0 null");
  EXPECT_EQ(
      sampling(file_of("llama").real("general.sampling.temp", 0.25).real("general.sampling.top_p", 0.5)),
      "0.25 0.5");
  EXPECT_EQ(sampling(file_of("llama").real("general.sampling.top_p", 0.5)), "0.7 0.5");
  EXPECT_EQ(sampling(file_of("llama").real("general.sampling.temp", -1)), "0.7 0.95");
}

TEST(GgufConfig, AScaleWithoutATypeIsLinear) {
  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    const std::string bytes = file_of("llama").real(key, 4).build();
    const Json config = gguf_config(*parse_gguf(bytes_of(bytes), "m"), bytes_of(bytes), "m").value();
    EXPECT_EQ(config["rope_scaling"].dump(), R"({"factor":4.0,"rope_type":"linear"})") << key;
  }
}

TEST(GgufMerges, WordsNeedThem) {
  auto problem = [](const std::vector<std::string>& tokens, const std::vector<int32_t>& types) {
    GgufFile f;
    f.text("general.architecture", "llama")
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", tokens);
    if (!types.empty()) f.array<int32_t>("tokenizer.ggml.token_type", 5, types);
    const std::string bytes = f.build();
    return gguf_tokenizer(*parse_gguf(bytes_of(bytes), "m"), "m").status().message();
  };
  EXPECT_NE(problem({"<s>", "a", "b", "ab"}, {3, 1, 1, 1}).find("tokenizer.ggml.merges is missing"),
            std::string::npos);
  EXPECT_NE(problem({"a", "b", "ab"}, {}).find("tokenizer.ggml.merges is missing"), std::string::npos);
  EXPECT_EQ(problem({"<s>", "a", "\xC4\xA0"}, {3, 1, 1}), "");  // bytes alone have none
}

}  // namespace
}  // namespace mlc
