// Tests that passes keep what a model computes, and that the memory plan is sound and tight.
#include <gtest/gtest.h>

#include "base/user_error.h"
#include "graph/passes/pack_intervals.h"
#include "graph/passes/pipeline.h"
#include "graph/passes/plan_memory.h"
#include "graph/print.h"
#include "graph/verify.h"
#include "support/toy_graph.h"

namespace mlc::graph {
namespace {

using testing::ToyBuilder;
using testing::ToyShape;
using testing::ToyTokens;

Target cpu() {
  Target target;
  target.kind = "cpu";
  return target;
}

WeightFormat q4() { return *WeightFormat::parse("q4g32.f16"); }

// Logits of the given steps, one call after the other on one cache whose unused pages hold NaN.
std::vector<float> run(const Module& module, const ToyShape& shape,
                       const std::vector<std::vector<ToyTokens>>& steps) {
  auto parameters = testing::random_parameters(module);
  auto states = make_states(module, 12);
  std::fill(states["kv"].values.begin(), states["kv"].values.end(), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> logits;
  for (const auto& batch : steps) {
    auto results = interpret(
        module, "step", testing::toy_arguments(shape, batch, 12, 4),
        [&](const std::string& name) -> const HostTensor& { return parameters.at(name); }, states);
    logits.insert(logits.end(), results[0].floats.begin(), results[0].floats.end());
  }
  return logits;
}

// A ragged prefill over page borders, then decodes with 3 rows and with 1.
std::vector<std::vector<ToyTokens>> ragged_steps() {
  std::vector<int32_t> seventeen(17);
  for (int i = 0; i < 17; ++i) seventeen[i] = 3 * i % 50;
  return {{{0, {5}}, {0, seventeen}, {0, {1, 2, 3}}}, {{1, {7}}, {17, {9}}, {3, {11}}}, {{2, {4}}}};
}

std::vector<ToyShape> shapes() {
  ToyShape llama, partial, neox, odd;
  partial.rotary_dim = 8;
  partial.kv_heads = 1;
  partial.kv_dtype = DType::kF16;
  neox.neox = true;
  neox.kv_heads = 4;
  odd.hidden = 40;  // no multiple of a group
  odd.intermediate = 37;
  odd.weights = q4();
  return {llama, partial, neox, odd};
}

TEST(Passes, OfO0KeepWhatAModelComputes) {
  for (const ToyShape& shape : shapes()) {
    Module module = ToyBuilder(shape).build();
    ASSERT_EQ(verify(module), "");
    std::vector<float> before = run(module, shape, ragged_steps());
    Target target = cpu();
    run_passes(module, {.opt_level = 0, .target = &target});
    EXPECT_EQ(module.functions.size(), 3u);
    std::vector<float> after = run(module, shape, ragged_steps());
    ASSERT_EQ(before.size(), 7u * 50);
    EXPECT_LT(testing::relative_rms(after, before), 1e-6);
  }
}

TEST(Passes, FuseAllOfABlock) {
  for (bool neox : {false, true}) {
    ToyShape shape;
    shape.neox = neox;
    Module module = ToyBuilder(shape).build();
    Target target = cpu();
    run_passes(module, {.opt_level = 0, .target = &target});
    std::map<std::string, int> ops;
    for (const auto& n : module.functions[0]->nodes) ++ops[n->op];
    EXPECT_EQ(ops["rope_append"], 2);
    EXPECT_EQ(ops["attention_part"], 2);
    EXPECT_EQ(ops["attention_join"], 2);
    for (const char* gone : {"attention", "map", "slice", "rope", "kv_append"})
      EXPECT_EQ(ops[gone], 0) << gone;
  }
}

TEST(Passes, OfO2LoseLittle) {
  for (ToyShape shape : shapes()) {
    shape.weights = q4();
    Module module = ToyBuilder(shape).build();
    std::vector<float> before = run(module, shape, ragged_steps());
    Target target = cpu();
    run_passes(module, {.opt_level = 2, .target = &target});
    std::vector<float> after = run(module, shape, ragged_steps());
    double loss = testing::relative_rms(after, before);
    EXPECT_GT(loss, 1e-5);  // it did something
    EXPECT_LT(loss, 0.03);
    for (const auto& p : module.parameters)
      if (p->type.kind == TensorType::Kind::kGroup) {
        EXPECT_EQ(p->type.layout, "tile8") << p->name;
      }
  }
}

TEST(Passes, DecodingEqualsPrefilling) {
  ToyShape shape;
  Module module = ToyBuilder(shape).build();
  std::vector<int32_t> ids(20);
  for (int i = 0; i < 20; ++i) ids[i] = 7 * i % 50;
  std::vector<float> whole = run(module, shape, {{{0, ids}}});
  std::vector<std::vector<ToyTokens>> steps = {{{0, {ids.begin(), ids.begin() + 15}}}};
  for (int i = 15; i < 20; ++i) steps.push_back({{i, {ids[i]}}});
  std::vector<float> stepwise = run(module, shape, steps);
  EXPECT_EQ(std::vector<float>(stepwise.end() - 50, stepwise.end()), whole);
}

TEST(Passes, PipelineDumpsSkipsAndRefusesUnknownNames) {
  Module module = ToyBuilder({}).build();
  std::vector<std::string> dumped;
  Target target = cpu();
  PassOptions options{.opt_level = 2, .target = &target, .skip = {"fuse_epilogues"}};
  options.dump = [&](const std::string& name, const std::string& text) {
    dumped.push_back(name);
    EXPECT_EQ(text.substr(0, 11), "module @toy");
  };
  std::vector<PassTime> times = run_passes(module, options);
  EXPECT_EQ(times.size(), pass_names().size() - 1);
  EXPECT_EQ(dumped.size(), pass_names().size());
  EXPECT_EQ(dumped[0], "input");
  EXPECT_EQ(std::count(dumped.begin(), dumped.end(), "fuse_epilogues"), 0);
  options.skip = {"fuse_epilogue"};
  try {
    run_passes(module, options);
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'fuse_epilogues'?"), std::string::npos);
  }
}

using Bindings = std::map<std::string, int64_t>;

// First and last node at which each value's memory must hold, uses through views included.
std::map<const Value*, std::pair<size_t, size_t>> lifetimes(const Function& f, const MemoryPlan& plan) {
  std::map<const Value*, std::pair<size_t, size_t>> out;
  auto touch = [&](const Value* v, size_t at) {
    if (auto view = plan.views.find(v); view != plan.views.end()) v = view->second.base;
    out.try_emplace(v, at, at).first->second.second = at;
  };
  for (size_t i = 0; i < f.nodes.size(); ++i) {
    for (const Value* v : f.nodes[i]->inputs) touch(v, i);
    for (const Value* v : f.nodes[i]->region.operands) touch(v, i);
    for (const Value* v : f.nodes[i]->outputs) touch(v, i);
  }
  std::erase_if(out, [&](const auto& e) { return !plan.offsets.count(e.first); });
  return out;
}

// No two values overlap in memory while both live, except an elementwise result and the operand that dies
// there.
void check_sound(const Function& f, const MemoryPlan& plan, const Bindings& dims) {
  auto lives = lifetimes(f, plan);
  int64_t total = *plan.total.evaluate(dims);
  for (const auto& [a, life] : lives) {
    int64_t begin = *plan.offsets.at(a).evaluate(dims), end = begin + *a->type.bytes().evaluate(dims);
    EXPECT_LE(end, total);
    EXPECT_EQ(begin % 64, 0);
    for (const auto& [b, other] : lives) {
      if (a == b || life.second < other.first || other.second < life.first) continue;
      int64_t start = *plan.offsets.at(b).evaluate(dims), stop = start + *b->type.bytes().evaluate(dims);
      bool in_place = begin == start && (life.second == other.first || other.second == life.first);
      EXPECT_TRUE(in_place || end <= start || stop <= begin)
          << a->name << " and " << b->name << " share memory";
    }
  }
}

int64_t largest_live_set(const Function& f, const MemoryPlan& plan, const Bindings& dims) {
  std::vector<int64_t> live(f.nodes.size());
  for (const auto& [v, life] : lifetimes(f, plan))
    for (size_t i = life.first; i <= life.second; ++i) live[i] += *v->type.bytes().evaluate(dims);
  return *std::max_element(live.begin(), live.end());
}

TEST(PlanMemory, IsSoundAndWithinATenthOfTheLargestLiveSet) {
  for (bool neox : {false, true})
    for (bool quantized : {false, true})
      for (bool fused : {false, true}) {
        ToyShape shape{.hidden = 576,
                       .heads = 9,
                       .kv_heads = 3,
                       .head_dim = 64,
                       .rotary_dim = 64,
                       .intermediate = 1536,
                       .vocab = 5000,
                       .layers = 4};
        shape.neox = neox;
        if (quantized) shape.weights = q4();
        Module module = ToyBuilder(shape).build();
        Target target = cpu();
        std::vector<std::string> skip;
        if (!fused) skip = {"fuse_epilogues", "fuse_rope_append"};
        run_passes(module, {.opt_level = 2, .target = &target, .skip = skip});
        MemoryPlan plan = plan_memory(*module.functions[2]);
        for (int64_t rows : {17, 100, 2048}) {
          Bindings dims = {{"rows", rows}, {"batch", 1}, {"pages", 9}};
          check_sound(*module.functions[2], plan, dims);
          double peak = static_cast<double>(*plan.total.evaluate(dims));
          EXPECT_LE(peak, 1.1 * static_cast<double>(largest_live_set(*module.functions[2], plan, dims)))
              << "neox " << neox << " quantized " << quantized << " fused " << fused << " rows " << rows;
        }
      }
}

TEST(PackIntervals, NeverOverlapsAndStaysNearTheBound) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<Interval> intervals(60);
    for (Interval& i : intervals) {
      size_t first = random() % 100;
      i = {static_cast<int64_t>(1 + random() % 50), first, first + random() % 20};
    }
    int64_t total = pack_intervals(intervals);
    EXPECT_LE(static_cast<double>(total), 1.15 * static_cast<double>(largest_live_sum(intervals)));
    for (const Interval& a : intervals) {
      EXPECT_LE(a.offset + a.size, total);
      for (const Interval& b : intervals) {
        bool apart = a.last < b.first || b.last < a.first || a.offset + a.size <= b.offset ||
                     b.offset + b.size <= a.offset;
        EXPECT_TRUE(&a == &b || apart);
      }
    }
  }
  std::vector<Interval> none;
  EXPECT_EQ(pack_intervals(none), 0);
}

TEST(PlanMemory, EmptyFunctionsNeedNothing) {
  Function f;
  f.name = "f";
  EXPECT_EQ(plan_memory(f).total.text(), "0");
}

}  // namespace
}  // namespace mlc::graph
