// attention over a sliding window: keys rotated by cache index, dropped tokens skipped. Every slot that holds
// no live token is NaN, dropped ones in kept pages included.
#include "ops/sliding_case.h"

namespace mlc::testing {
namespace {

class SlidingAttention : public OpTest {
 protected:
  void add_case(const SlidingShape& shape, int64_t window, int64_t sinks, int64_t step) {
    add_sliding_case(
        [&](const std::string& label, const auto& dims) -> OpCase& { return batch.add(label, dims); }, shape,
        window, sinks, step);
  }
};

TEST_F(SlidingAttention, WindowsAroundAPageWithSinks) {
  for (int64_t window : {int64_t{1}, kPage - 1, kPage, kPage + 1, 2 * kPage + 5})
    for (int64_t sinks : {int64_t{0}, int64_t{1}, int64_t{4}, kPage + 2})
      if (sinks < window) add_case({}, window, sinks, 1);
}

TEST_F(SlidingAttention, StepsOfManyRows) {
  add_case({}, 20, 3, 7);
  add_case({}, 20, 18, 20);
  add_case({}, 48, 16, 16);
}

TEST_F(SlidingAttention, HeadsAndRotations) {
  for (DType dtype : {DType::kF16, DType::kBF16, DType::kI8}) add_case({.dtype = dtype}, 21, 4, 5);
  add_case({.dtype = DType::kI8, .heads = 4, .head_dim = 32, .rotary_dim = 0}, 40, 3, 17);
  add_case({.dtype = DType::kI8, .head_dim = 32, .rotary_dim = 32, .interleaved = true, .one_row = true}, 40,
           3, 1);
  add_case({.heads = 3, .kv_heads = 3, .head_dim = 20, .rotary_dim = 10}, 21, 4, 5);
  add_case({.heads = 5, .kv_heads = 1, .head_dim = 8, .rotary_dim = 0}, 21, 4, 5);
  add_case({.heads = 9, .kv_heads = 3, .head_dim = 64, .rotary_dim = 32, .interleaved = true}, 21, 4, 5);
}

TEST_F(SlidingAttention, BesideALayersWindow) {
  add_case({.limited = 9}, 17, 4, 1);
  add_case({.dtype = DType::kF16, .limited = 19}, 40, 4, 20);
  add_case({.one_row = true, .part_pages = 8, .limited = 9}, 37, 3, 1);
}

TEST_F(SlidingAttention, LayersWindow) {
  auto add_one = [&](const std::string& label, const auto& dims) -> OpCase& {
    return batch.add(label, dims);
  };
  add_window_cases(add_one, DType::kF32, {1, 20, 100});
  add_window_cases(add_one, DType::kF16, {20});
  add_window_cases(add_one, DType::kI8, {20});
}

// A slid sequence gives what a fresh one with the same live tokens gives: the op's meaning against itself
// without skips.
TEST(SlidingAttentionMeaning, SkippingIsTheSameAsNeverHavingStored) {
  graph::PagedState cache = graph::PagedState::of_heads("kv", 1, 1, 4, kPage, DType::kF32);
  std::mt19937 random(23);
  auto run = [&](const std::vector<float>& values, int32_t begin, int32_t count,
                 const std::vector<int32_t>& pages) {
    OpCase c({{"rows", 1}, {"batch", 1}, {"pages", int64_t(pages.size())}});
    c.state(cache, 4);
    c.states["kv"].values = values;
    const Dim r = Dim::symbol("rows"), batch = Dim::symbol("batch");
    graph::RollingWindow w{.skip_begin = c.indices(batch, {begin}), .skip_count = c.indices(batch, {count})};
    w.key_factors = c.matrix(8, 4, make_factors(8, 4));
    c.g->attention("kv", 0,
                   {.q = c.matrix(r, 4, {1, -2, 0.5, 1}),
                    .row_sequence = c.indices(r, {0}),
                    .limits = c.indices(r, {7}),
                    .page_indptr = c.indices(batch + 1, {0, int32_t(pages.size())}),
                    .page_ids = c.indices(Dim::symbol("pages"), pages),
                    .rolling = w},
                   {.heads = 1, .scale = 0.5});
    const graph::Node& node = *c.module.functions[0]->nodes.back();
    std::vector<const graph::HostTensor*> inputs;
    for (const graph::Value* v : node.inputs) inputs.push_back(&c.logical(v));
    graph::InterpretContext context{c.states};
    return graph::find_op("attention")->interpret(node, inputs, {}, context)[0].floats;
  };
  std::vector<float> slid(static_cast<size_t>(4 * cache.page_elements()), NAN), fresh = slid;
  for (int64_t t = 0; t < 7; ++t) {
    int64_t stored = t < 2 ? t : t + 17;  // 2 sinks in page 3, the others in page 1
    for (int64_t v : {0, 1})
      for (int64_t d = 0; d < 4; ++d) {
        float x = random_floats(1, 1, random)[0];
        slid[static_cast<size_t>((stored < kPage ? 3 : 1) * cache.page_elements() +
                                 (v * kPage + stored % kPage) * 4 + d)] = x;
        fresh[static_cast<size_t>((v * kPage + t) * 4 + d)] = x;
      }
  }
  EXPECT_EQ(run(slid, 2, 17, {3, 1}), run(fresh, 0, 0, {0}));
}

}  // namespace
}  // namespace mlc::testing
