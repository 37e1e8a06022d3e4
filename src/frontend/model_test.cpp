// Built models: parameters as MLC writes them under every scheme, and functions that verify and round-trip.
#include "frontend/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "frontend/layers/parameters.h"
#include "graph/parse.h"
#include "graph/print.h"
#include "graph/verify.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

using mlc::testing::toy_file;

ModelConfig config_of(const std::string& toy) {
  return parse_hf_config(read_json_file(toy_file(toy, "config.json")).value(), "auto", toy).value();
}

BuiltModel build(const std::string& toy, const std::string& scheme) {
  return build_model(config_of(toy), find_quant_scheme(scheme).value());
}

// The records of convert_weight for a parameter: "name dtype shape".
std::vector<std::string> records(const Parameter& p, const QuantScheme& scheme) {
  const WeightFormat format = format_of(p, scheme);
  std::string base = p.name;
  if (format.is_quantized()) base.resize(base.size() - std::string("weight").size());
  std::vector<std::string> all;
  for (const FormatRecord& record : format_records(format, p.shape)) {
    all.push_back(str(base, format.is_quantized() ? record.name : "", " ", long_name(record.dtype)));
    for (int64_t n : record.shape) all.back() += str(" ", n);
  }
  return all;
}

class Models : public ::testing::TestWithParam<std::string> {};
class ModelsOfMlc : public ::testing::TestWithParam<std::string> {};

TEST_P(ModelsOfMlc, ParametersAreThoseOfMlc) {
  std::map<std::string, std::set<std::string>> expected;  // by scheme
  std::istringstream lines(read_file(toy_file(GetParam(), "parameters.txt")).value());
  for (std::string scheme, rest; lines >> scheme && std::getline(lines >> std::ws, rest);)
    expected[scheme].insert(rest);
  ASSERT_FALSE(expected.empty());
  for (const auto& [name, wanted] : expected) {
    const QuantScheme scheme = find_quant_scheme(name).value();
    std::set<std::string> ours;
    for (const Parameter& p : build_model(config_of(GetParam()), scheme).parameters)
      for (const std::string& r : records(p, scheme)) EXPECT_TRUE(ours.insert(r).second) << r;
    EXPECT_EQ(ours, wanted) << name;
  }
}

TEST_P(Models, GraphParametersAreTheDeclaredOnes) {
  const QuantScheme scheme = find_quant_scheme("q4f16_1").value();
  const BuiltModel built = build(GetParam(), "q4f16_1");
  ASSERT_EQ(built.module->parameters.size(), built.parameters.size());
  for (size_t i = 0; i < built.parameters.size(); ++i) {
    EXPECT_EQ(built.module->parameters[i]->name, built.parameters[i].name);
    EXPECT_EQ(built.module->parameters[i]->type.format, format_of(built.parameters[i], scheme));
    EXPECT_FALSE(source_names(built.parameters[i].source).empty());
  }
}

TEST_P(Models, EveryFunctionVerifiesAndRoundTrips) {
  const bool stacks = config_of(GetParam()).has("num_experts_per_tok");  // which have no KN form
  for (const QuantScheme& scheme : quant_schemes()) {
    if (stacks && scheme.linear.transposed) {
      EXPECT_THROW(build(GetParam(), scheme.name), UserError) << scheme.name;
      continue;
    }
    const BuiltModel built = build(GetParam(), scheme.name);
    EXPECT_EQ(graph::verify(*built.module), "") << scheme.name;
    const std::string text = graph::print(*built.module);
    EXPECT_EQ(graph::print(graph::parse_module(text)), text) << scheme.name;
  }
}

TEST_P(Models, HasTheFunctionsOfSetB) {
  const BuiltModel built = build(GetParam(), "q0f32");
  if (is_encoder(config_of(GetParam()))) return;
  std::vector<std::string> names;
  for (const auto& f : built.module->functions) names.push_back(f->name);
  EXPECT_EQ(
      join(names, " "),
      "embed prefill decode batch_prefill batch_decode batch_verify prefill_to_last_hidden_states "
      "decode_to_last_hidden_states batch_prefill_to_last_hidden_states batch_decode_to_last_hidden_states "
      "batch_verify_to_last_hidden_states get_logits batch_select_last_hidden_states " +
          std::string(built.module->states.empty() ? "copy_slots" : "copy_pages"));
}

INSTANTIATE_TEST_SUITE_P(Toys, Models, ::testing::ValuesIn(mlc::testing::kToys),
                         [](const auto& i) { return i.param; });
INSTANTIATE_TEST_SUITE_P(Toys, ModelsOfMlc, ::testing::ValuesIn(mlc::testing::toys_with("parameters.txt")),
                         [](const auto& i) { return i.param; });

TEST(Embeddings, ADecoderGivesHiddenStatesOnly) {
  const ModelConfig config =
      parse_hf_config(read_json_file(toy_file("qwen3_embedding", "config.json")).value(), "qwen3-embedding",
                      "c")
          .value();
  const BuiltModel built = build_model(config, find_quant_scheme("q0f32").value());
  std::vector<std::string> names;
  for (const auto& f : built.module->functions) names.push_back(f->name);
  EXPECT_EQ(
      join(names, " "),
      "embed prefill_to_last_hidden_states decode_to_last_hidden_states batch_prefill_to_last_hidden_states "
      "batch_decode_to_last_hidden_states");
  EXPECT_TRUE(gives_embeddings(config));
  EXPECT_FALSE(is_encoder(config));
  for (const Parameter& p : built.parameters) EXPECT_NE(p.name, "lm_head.weight");
}

TEST(Encoders, HaveTheFunctionsThatReadWholeTexts) {
  const BuiltModel built = build("bert", "q0f32");
  std::vector<std::string> names;
  for (const auto& f : built.module->functions) names.push_back(f->name);
  EXPECT_EQ(join(names, " "),
            "embed prefill batch_prefill prefill_to_last_hidden_states batch_prefill_to_last_hidden_states");
  const graph::Function& prefill = *built.module->find_function("prefill");
  EXPECT_EQ(prefill.results[0]->type.text(), "f32[rows, 48]");
  std::vector<std::string> arguments;
  for (const graph::Value* a : prefill.arguments) arguments.push_back(a->name);
  EXPECT_EQ(join(arguments, " "),
            "input_embeds positions token_types limits row_sequence row_slots page_indptr page_ids");
}

// Learned positions are taken by position; nothing is rotated.
TEST(Gpt2, ListsPositionsAndNoFactors) {
  const BuiltModel built = build("gpt2", "q0f32");
  std::vector<std::string> arguments;
  for (const graph::Value* a : built.module->find_function("decode")->arguments) arguments.push_back(a->name);
  EXPECT_EQ(join(arguments, " "),
            "input_embeds positions limits row_sequence row_slots page_indptr page_ids");
  ModelConfig config = config_of("gpt2");
  config.fields["scale_attn_by_inverse_layer_idx"] = true;
  const BuiltModel scaled = build_model(config, find_quant_scheme("q0f32").value());
  std::vector<double> scales;
  for (const auto& node : scaled.module->find_function("decode")->nodes)
    if (node->op == "attention") scales.push_back(node->get_double("scale") * std::sqrt(20.0));
  ASSERT_EQ(scales.size(), 2u);
  EXPECT_DOUBLE_EQ(scales[0], 1);
  EXPECT_DOUBLE_EQ(scales[1], 0.5);
}

// The checkpoint's window is a property of the layers; another one rolls.
TEST(Mistral, WindowsOfLayersAndOfTheUser) {
  const Json file = read_json_file(toy_file("mistral", "mlc-configs.json")).value()["q4f16_1"];
  auto windows = [&](const Json& mlc) {
    const ModelConfig config = parse_mlc_config(mlc, "auto", "mlc-chat-config.json").value();
    const BuiltModel built = build_model(config, find_quant_scheme("q0f32").value());
    std::string out = str("rolling ", config.sliding_window_size, " sinks ", config.attention_sink_size);
    for (const auto& node : built.module->find_function("decode")->nodes)
      if (node->op == "attention") out += str(", layer ", node->get_int_or("window", 0));
    return out + (config.notes.empty() ? "" : " noted");
  };
  EXPECT_EQ(windows(file), "rolling 0 sinks 0, layer 8, layer 8");
  Json other = file;
  other["sliding_window_size"] = other["model_config"]["sliding_window_size"] = 16;
  EXPECT_EQ(windows(other), "rolling 16 sinks 4, layer 0, layer 0");
  Json of_mlc = file;  // which cannot say what the checkpoint's window means
  of_mlc.erase("source_config");
  EXPECT_EQ(windows(of_mlc), "rolling 8 sinks 4, layer 0, layer 0 noted");
  Json learned = read_json_file(toy_file("gpt2", "mlc-configs.json")).value()["q4f16_1"];
  learned["sliding_window_size"] = 16;
  EXPECT_EQ(
      parse_mlc_config(learned, "auto", "c.json").status().message(),
      "c.json: sliding_window_size is 16, but models of type gpt2 have learned positions, of which there "
      "are only as many as the context has; leave it out");
}

TEST(Models, PrefillSelectsRowsBeforeTheLogits) {
  const BuiltModel built = build("llama", "q0f32");
  const graph::Function& prefill = *built.module->find_function("prefill");
  EXPECT_EQ(prefill.results[0]->type.text(), "f32[wanted, 512]");
  EXPECT_EQ(prefill.nodes.back()->op, "matmul");
  EXPECT_EQ(prefill.nodes.back()->inputs[0]->producer->op, "take");
}

TEST(Models, TiedEmbeddingsHaveNoHead) {
  const BuiltModel tied = build("llama3_tied", "q4f16_1");
  EXPECT_EQ(tied.module->find_parameter("lm_head.weight"), nullptr);
  EXPECT_EQ(join(tied.unused_sources, " "), "rotary_emb.inv_freq lm_head.weight");
  EXPECT_EQ(join(build("llama", "q4f16_1").unused_sources, " "), "rotary_emb.inv_freq");
}

TEST(Models, RopeSpecs) {
  const RopeSpec plain = rope_spec(config_of("llama"));
  EXPECT_EQ(plain.kind, "default");
  EXPECT_EQ(plain.rotary_dim, 24);
  EXPECT_EQ(plain.theta, 10000);
  EXPECT_TRUE(plain.scaling.is_null());
  const RopeSpec llama3 = rope_spec(config_of("llama3_tied"));
  EXPECT_EQ(llama3.kind, "llama3");
  EXPECT_EQ(llama3.theta, 500000);
  EXPECT_EQ(llama3.scaling["factor"], 8.0);
}

TEST(GptNeox, RotatesPartOfEachHeadAndKeepsItsBiasesInF32) {
  const RopeSpec spec = rope_spec(config_of("gpt_neox"));
  EXPECT_EQ(spec.rotary_dim, 4);  // 0.25 of 16
  const BuiltModel built = build("gpt_neox", "q4f16_1");
  EXPECT_EQ(built.module->find_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.bias")->type.text(),
            "f32[256]");
  EXPECT_EQ(built.module->find_parameter("gpt_neox.layers.0.attention.dense.bias")->type.text(), "f16[64]");
  EXPECT_EQ(built.module->states[0].kv_heads, 4);
}

TEST(GptNeox, ResidualIsParallelOrSequential) {
  ModelConfig config = config_of("gpt_neox");
  for (bool parallel : {true, false}) {
    config.fields["use_parallel_residual"] = parallel;
    const BuiltModel built = build_model(config, find_quant_scheme("q0f32").value());
    const graph::Value* norm_weight =
        built.module->find_parameter("gpt_neox.layers.0.post_attention_layernorm.weight");
    int found = 0;
    for (const auto& node : built.module->find_function("decode")->nodes) {
      if (node->op != "layer_norm" || node->inputs[1] != norm_weight) continue;
      EXPECT_EQ(node->inputs[0]->kind == graph::Value::Kind::kArgument,
                parallel);  // layer 0: the block's own input
      ++found;
    }
    EXPECT_EQ(found, 1);
  }
}

TEST(Models, TheCacheHasTheModelsHeads) {
  BuildOptions options{.kv_dtype = DType::kF16};
  const BuiltModel built = build_model(config_of("llama"), find_quant_scheme("q4f16_1").value(), options);
  const graph::PagedState& cache = built.module->states.at(0);
  EXPECT_EQ(cache.layers, 2);
  EXPECT_EQ(cache.kv_heads, 2);
  EXPECT_EQ(cache.key_dim, 24);
  EXPECT_EQ(cache.page_size, 16);
  EXPECT_EQ(cache.dtype, DType::kF16);
}

TEST(Models, SampleOnlyWhereAskedFor) {
  for (bool sampling : {false, true}) {
    const BuiltModel built =
        build_model(config_of("llama"), find_quant_scheme("q4f16_1").value(), {.sampling = sampling});
    const graph::Function* sample = nullptr;
    for (const auto& f : built.module->functions)
      if (f->name == "sample") sample = f.get();
    ASSERT_EQ(sample != nullptr, sampling);
    if (!sample) continue;
    EXPECT_EQ(sample->arguments[0]->type.text(), "f32[wanted, 512]");
    EXPECT_EQ(sample->arguments[1]->type.text(), "f32[wanted, 3]");
    EXPECT_EQ(sample->results[0]->type.text(), "i32[wanted, 1]");
  }
}

// Where nobody asks for trees, batch_verify costs no body of its own.
TEST(Models, VerifyTakesTreesOnlyWhereAskedFor) {
  for (bool trees : {false, true}) {
    const BuiltModel built =
        build_model(config_of("llama"), find_quant_scheme("q4f16_1").value(), {.trees = trees});
    for (const auto& f : built.module->functions) {
      if (f->name == "batch_verify_to_last_hidden_states") {
        EXPECT_EQ(f->same_as, trees ? "" : "prefill_to_last_hidden_states");
        EXPECT_EQ(std::ranges::count(f->arguments, "mask", [](const auto* a) { return a->name; }), trees);
      }
      if (f->name != "batch_verify") continue;
      EXPECT_EQ(f->same_as, trees ? "" : "prefill");
      const auto names = [&](const char* name) {
        return std::ranges::count(f->arguments, name, [](const auto* a) { return a->name; });
      };
      EXPECT_EQ(names("mask"), trees);
      EXPECT_EQ(names("logit_positions"), trees);
    }
  }
  EXPECT_THROW(build_model(config_of("bloom"), find_quant_scheme("q0f16").value(), {.trees = true}),
               UserError);
  EXPECT_THROW(build_model(config_of("rwkv5"), find_quant_scheme("q0f16").value(), {.trees = true}),
               UserError);
}

TEST(Models, ADraftHeadHasOneFunction) {
  const BuiltModel built =
      build_model(config_of("medusa"), find_quant_scheme("q0f16").value(), {.sampling = true});
  ASSERT_EQ(built.module->functions.size(), 1u);
  const graph::Function& f = *built.module->functions[0];
  EXPECT_EQ(f.name, "get_logits");
  ASSERT_EQ(f.arguments.size(), 1u);
  EXPECT_EQ(f.arguments[0]->type.text(), "f32[rows, 64]");
  ASSERT_EQ(f.results.size(), 3u);  // a result for each head
  for (const graph::Value* result : f.results) EXPECT_EQ(result->type.text(), "f32[rows, 400]");
  std::vector<std::string> names;
  for (const Parameter& p : built.parameters) names.push_back(p.name);
  const std::vector<std::string> first = {"medusa_head.0.0.linear.weight", "medusa_head.0.0.linear.bias",
                                          "medusa_head.0.1.linear.weight", "medusa_head.0.1.linear.bias",
                                          "medusa_head.0.2.weight"};
  ASSERT_EQ(names.size(), 15u);
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 5), first);
  EXPECT_THROW(build_model(config_of("medusa"), find_quant_scheme("q0f16").value(), {.trees = true}),
               UserError);
}

TEST(Models, ModelTypesAreSorted) {
  const std::vector<std::string> names = model_types();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

}  // namespace
}  // namespace mlc::frontend
