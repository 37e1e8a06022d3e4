// Tensors that are larger than a call may bind: a target whose limit is a few KiB cuts weights into pieces,
// and a device whose limit is small cuts steps and logits. The logits stay the same to the bit, on the
// interpreter and on every GPU device.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/compiled_model.h"
#include "support/gpu_devices.h"
#include "support/interpreted_library.h"
#include "support/npy.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

constexpr int64_t kBindingBytes =
    50 << 10;  // as the device says: 32 rows of logits are larger, and 64 of gpt_neox's values
const runtime::ModelLimits kLimits{
    .max_sequences = 3, .context_tokens = 64, .total_tokens = 64, .prefill_chunk = 64, .shuffle_pages = 5};

struct Case {
  std::string toy, scheme;
  int64_t weight_bytes =
      7 << 10;  // of a binding, as the target says: both tables and gate with up are larger
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.scheme; }

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return info.param.toy + "_" + info.param.scheme;
}

Target cut(Target target, int64_t weight_bytes = 7 << 10) {
  target.max_binding_bytes = weight_bytes;
  return target;
}

// Bytes of the largest binding of a weight and of anything else, in calls that this model may make.
struct Largest {
  int64_t weight = 0, other = 0;
};

Largest largest_bindings(const LoadedModel& m) {
  const Plan& plan = m.module->plan();
  const int64_t pages = m.model->memory().state.dims.pool_pages;
  Largest most;
  for (const PlanFunction& f : plan.functions) {
    bool all_logits = f.name.find("logits") != f.name.npos || f.name.ends_with("verify") ||
                      f.name == "decode" || f.name == "prefill";
    const int64_t rows =
        all_logits || f.name == "batch_decode" ? kLimits.max_sequences : m.model->prefill_chunk();
    const std::map<std::string, int64_t> dims = {
        {"rows", rows},   {"batch", kLimits.max_sequences},  {"wanted", kLimits.max_sequences},
        {"pages", pages}, {"copies", kLimits.max_sequences}, {kPoolPages, pages}};
    for (const PlanBody& b : f.bodies)
      for (const PlanCall& c : b.calls)
        for (const PlanBuffer& buffer : c.buffers) {
          int64_t bytes = plan.expressions[buffer.bytes].evaluate(dims).value();
          int64_t& to = buffer.space == PlanBuffer::Space::kWeight ? most.weight : most.other;
          to = std::max(to, bytes);
        }
  }
  return most;
}

int64_t pieces_of(const Plan& plan, const std::string& name) {
  return std::count_if(plan.weights.begin(), plan.weights.end(),
                       [&](const PlanWeight& w) { return w.name == name && !w.rows.empty(); });
}

class Pieces : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    tokens = read_npy(toy_file(GetParam().toy, "tokens.npy")).ints;
    tokens.insert(tokens.end(), tokens.begin(), tokens.end());
    convert_checkpoint(toy_file(GetParam().toy, ""), GetParam().scheme, folder.path());
    config = toy_config(GetParam().toy, GetParam().scheme);
  }

  // Every kind of step: all logits, decode, a batch of unequal sequences, a fork.
  std::vector<float> run(LoadedModel& m) {
    for (int64_t id : {1, 2}) must(m->sequences().add(id));
    const auto part = [&](size_t begin, size_t end) { return std::span(tokens).subspan(begin, end - begin); };
    std::vector<float> all = m.step({{1, part(0, 32)}}, WantLogits::kAll);
    const auto add = [&](const std::vector<float>& more) { all.insert(all.end(), more.begin(), more.end()); };
    add(m.step({{2, part(0, 1)}}, WantLogits::kLast));
    add(m.step({{1, part(2, 3)}, {2, part(1, 8)}}, WantLogits::kLast));
    must(m->sequences().fork(1, 3, 5));
    add(m.step({{3, part(5, 6)}, {1, part(3, 4)}}, WantLogits::kLast));
    return all;
  }

  void expect_pieces(const LoadedModel& m) {
    const Plan& plan = m.module->plan();
    for (const PlanWeight& w : plan.weights) EXPECT_LE(w.bytes, GetParam().weight_bytes) << w.name;
    const bool tied = GetParam().toy == "llama3_tied", neox = GetParam().toy == "gpt_neox";
    EXPECT_GT(pieces_of(plan, neox ? "gpt_neox.embed_in.weight" : "model.embed_tokens.weight"), 1);
    if (!tied) {
      EXPECT_GT(pieces_of(plan, neox ? "embed_out.weight" : "lm_head.weight"), 1);
    }
    if (!neox) {
      EXPECT_GT(pieces_of(plan, "model.layers.0.mlp.gate_up_proj.weight"), 1);
    }
    const Largest most = largest_bindings(m);
    EXPECT_LE(most.weight, GetParam().weight_bytes);
    EXPECT_LE(most.other, kBindingBytes);
    EXPECT_EQ(m.model->prefill_chunk(), neox ? 32 : 64);
  }

  LoadedModel on_device(const GpuTarget& gpu, bool in_pieces) {
    const std::string path = folder.file(str(gpu.target.name, in_pieces, ".so"));
    compile_to(path, config, 0, {in_pieces ? cut(gpu.target, GetParam().weight_bytes) : gpu.target});
    runtime::DevicePtr device = must(runtime::open_device(gpu.device));
    if (in_pieces) device->properties.max_binding_bytes = kBindingBytes;
    return LoadedModel::load(std::move(device), path, folder.path(), kLimits);
  }

  TempFolder folder;
  std::vector<int32_t> tokens;
  Json config;
};

TEST_P(Pieces, HaveTheLogitsOfTheWholeOnTheInterpreter) {
  register_interpreter_device();
  std::vector<std::vector<float>> logits;
  for (bool in_pieces : {false, true}) {
    CompileOptions options;
    options.opt_level = 0;
    const Target target = targets_for_device("vulkan-software")->front();
    options.targets = {in_pieces ? cut(target, GetParam().weight_bytes) : target};
    const auto library = interpreted(config, options);
    LoadedModel m;
    m.device = must(runtime::open_device("interpreter"));
    if (in_pieces) m.device->properties.max_binding_bytes = kBindingBytes;
    m.module = must(runtime::Module::wrap(*m.device, **library, "toy"));
    m.model = must(runtime::Model::load(*m.device, m.module, folder.path(), kLimits));
    if (in_pieces) expect_pieces(m);
    logits.push_back(run(m));
  }
  EXPECT_TRUE(logits[0] == logits[1]);
}

class PiecesOnDevices : public Pieces {};

TEST_P(PiecesOnDevices, HaveTheLogitsOfTheWhole) {
  for (const GpuTarget& gpu : best_gpu_targets()) {
    SCOPED_TRACE(gpu.target.name);
    LoadedModel whole = on_device(gpu, false);
    const std::vector<float> expected = run(whole);
    LoadedModel m = on_device(gpu, true);
    expect_pieces(m);
    EXPECT_TRUE(run(m) == expected);
  }
}

// Sources with rows along either axis, one without a repack kernel, tied tables, biases.
INSTANTIATE_TEST_SUITE_P(Toys, Pieces,
                         ::testing::Values(Case{"llama", "q4f16_1"}, Case{"llama", "q4f16_0"},
                                           Case{"llama", "q0f16", 14 << 10}, Case{"llama3_tied", "q3f16_1"},
                                           Case{"gpt_neox", "q4f16_1"}, Case{"qwen2", "q4f32_1"}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Toys, PiecesOnDevices,
                         ::testing::Values(Case{"llama", "q0f16", 14 << 10}, Case{"gpt_neox", "q4f16_1"},
                                           Case{"llama3_tied", "q3f16_1"}),
                         name_of);

class PieceErrors : public ::testing::Test {
 protected:
  void SetUp() override { convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path()); }
  // What loading on a device with that limit says; "" when it loads.
  std::string problem(int64_t device_bytes, const runtime::ModelLimits& limits, const Target& target) {
    compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 0, {target});
    runtime::DevicePtr device = must(runtime::open_device("vulkan"));
    device->properties.max_binding_bytes = device_bytes;
    auto module = must(runtime::Module::load(*device, folder.file("model.so")));
    auto model = runtime::Model::load(*device, module, folder.path(), limits);
    return model.is_ok() ? "" : model.status().message();
  }
  TempFolder folder;
  const Target target = targets_for_device("vulkan")->front();
};

// What cannot be cut is a sentence: one layer's pages, and a library made for larger bindings.
TEST_F(PieceErrors, WhatCannotBeCutIsASentence) {
  EXPECT_NE(problem(8 << 10, kLimits, cut(target)).find("the keys and values of a layer take"),
            std::string::npos);
  EXPECT_NE(problem(8 << 10, kLimits, cut(target)).find("lower context_window_size in --overrides"),
            std::string::npos);
  const std::string whole = problem(16 << 10, {.max_sequences = 1, .context_tokens = 16}, target);
  EXPECT_NE(whole.find("weight 'model.embed_tokens.weight' takes"), std::string::npos) << whole;
  EXPECT_EQ(problem(kBindingBytes, kLimits, cut(target)), "");
}

TEST_F(PieceErrors, ATargetThatCannotBindOneBlockOfRowsIsRefusedWhenCompiling) {
  Target tiny = target;
  tiny.max_binding_bytes = 1 << 10;
  CompileOptions options;
  options.opt_level = 0;
  options.targets = {tiny};
  const Status status =
      compile_model(toy_config("llama", "q4f16_1"), "mlc-chat-config.json", options).status();
  EXPECT_NE(status.message().find("of its rows must be bound at once"), std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace mlc::testing
