// attention over a sliding window: keys rotated by cache index, dropped tokens skipped. Every slot that holds
// no live token is NaN, dropped ones in kept pages included.
#include "ops/tolerance.h"
#include "runtime/kv/paged_cache.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

constexpr int64_t kPage = 16, kPool = 64;

struct Shape {
  DType dtype = DType::kF32;
  int64_t heads = 6, kv_heads = 2, head_dim = 16, rotary_dim = 16;
  bool interleaved = false;
};

// Cosines and sines of rows 0..n-1, with frequencies of no particular origin.
std::vector<float> make_factors(int64_t n, int64_t rotary_dim) {
  std::vector<float> factors;
  for (int64_t i = 0; i < n; ++i)
    for (bool sine : {false, true})
      for (int64_t d = 0; d < rotary_dim / 2; ++d) {
        double angle = double(i) / double(1 + 3 * d);
        factors.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
  return factors;
}

// The state of sequences after steps of `step` rows, the last step's rows not slid yet.
class Slid {
 public:
  Slid(graph::HostState& state, int64_t window, int64_t sinks, const std::vector<int64_t>& lengths,
       int64_t step)
      : state_(state), cache_(state.pages, kPage, 9) {
    EXPECT_TRUE(cache_.enable_sliding_windows(window, sinks).is_ok());
    for (size_t s = 0; s < lengths.size(); ++s) {
      int64_t id = static_cast<int64_t>(s);
      EXPECT_TRUE(cache_.add_sequence(id).is_ok());
      for (int64_t done = 0; done < lengths[s]; done += step) {
        cache_.slide(id);
        EXPECT_TRUE(cache_.append(id, std::min(step, lengths[s] - done)).is_ok());
      }
      describe(static_cast<int32_t>(s));
    }
  }

  std::vector<int32_t> sequence, position, indptr = {0}, ids, skip_begin, skip_count;
  int64_t longest = 0;

 private:
  void describe(int32_t s) {
    int64_t length = cache_.length(s);
    longest = std::max(longest, length);
    for (int64_t t = 0; t < length; ++t) fill(cache_.slot(s, t));
    for (int64_t row : {int64_t{0}, length / 3, length - 2, length - 1}) {
      if (row < 0) continue;
      sequence.push_back(s);
      position.push_back(static_cast<int32_t>(row));
    }
    for (int32_t page : cache_.pages(s)) ids.push_back(page);
    indptr.push_back(static_cast<int32_t>(ids.size()));
    skip_begin.push_back(static_cast<int32_t>(cache_.skip_begin(s)));
    skip_count.push_back(static_cast<int32_t>(cache_.skip_count(s)));
  }

  void fill(int64_t slot) {
    const graph::KvCache& c = state_.cache;
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at =
          (state_.pages + slot / kPage) * c.page_elements() + (h * kPage + slot % kPage) * c.head_dim;
      std::vector<float> values = random_floats(c.head_dim, 1, random_);
      round_floats(c.dtype, values);
      std::copy(values.begin(), values.end(), state_.values.begin() + at);
    }
  }

  graph::HostState& state_;
  runtime::PagedCache cache_;
  std::mt19937 random_{21};
};

void add_case(OpBatch& cases, const Shape& shape, int64_t window, int64_t sinks, int64_t step) {
  const std::vector<int64_t> lengths = {1, window, window + 1, 3 * kPage + 2, 100};
  graph::KvCache cache{"kv", 2, shape.kv_heads, shape.head_dim, kPage, shape.dtype};
  graph::HostState plan{cache, kPool,
                        std::vector<float>(static_cast<size_t>(2 * kPool * cache.page_elements()), NAN)};
  Slid slid(plan, window, sinks, lengths, step);
  const int64_t rows = static_cast<int64_t>(slid.position.size());
  OpCase& c =
      cases.add(str("window ", window, ", ", sinks, " sinks, steps of ", step),
                {{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", int64_t(slid.ids.size())}});
  c.state(cache, kPool);
  c.states["kv"].values = plan.values;
  std::mt19937 random(22);
  const Dim r = Dim::symbol("rows"), batch = Dim::symbol("batch");
  const int64_t width = shape.heads * shape.head_dim, keys = window + step;
  graph::Value* q = c.matrix(r, width, random_floats(rows * width, 2, random), width + 8, 8);
  graph::Value *sequence = c.indices(r, slid.sequence), *position = c.indices(r, slid.position);
  graph::Value *indptr = c.indices(batch + 1, slid.indptr), *ids = c.indices(Dim::symbol("pages"), slid.ids);
  graph::AttentionWindow w{.skip_begin = c.indices(batch, slid.skip_begin),
                           .skip_count = c.indices(batch, slid.skip_count)};
  if (shape.rotary_dim > 0)
    w.key_factors = c.matrix(keys, shape.rotary_dim, make_factors(keys, shape.rotary_dim));
  w.interleaved = shape.interleaved;
  double scale = 1 / std::sqrt(double(shape.head_dim));
  c.g->attention("kv", 1, q, sequence, position, indptr, ids, shape.heads, scale, w);
  // |q| <= 2 and a rotated key's elements are at most sqrt(2), each with 3 more roundings.
  c.rule.tolerance =
      attention_error(slid.longest, shape.head_dim + 3, 2 * 1.5 * double(shape.head_dim) * scale, 1);
}

class SlidingAttention : public OpTest {};

TEST_F(SlidingAttention, WindowsAroundAPageWithSinks) {
  for (int64_t window : {int64_t{1}, kPage - 1, kPage, kPage + 1, 2 * kPage + 5})
    for (int64_t sinks : {int64_t{0}, int64_t{1}, int64_t{4}, kPage + 2})
      if (sinks < window) add_case(batch, {}, window, sinks, 1);
}

TEST_F(SlidingAttention, StepsOfManyRows) {
  add_case(batch, {}, 20, 3, 7);
  add_case(batch, {}, 20, 18, 20);
  add_case(batch, {}, 48, 16, 16);
}

TEST_F(SlidingAttention, HeadsAndRotations) {
  for (DType dtype : {DType::kF16, DType::kBF16}) add_case(batch, {.dtype = dtype}, 21, 4, 5);
  add_case(batch, {.heads = 3, .kv_heads = 3, .head_dim = 20, .rotary_dim = 10}, 21, 4, 5);
  add_case(batch, {.heads = 5, .kv_heads = 1, .head_dim = 8, .rotary_dim = 0}, 21, 4, 5);
  add_case(batch, {.heads = 9, .kv_heads = 3, .head_dim = 64, .rotary_dim = 32, .interleaved = true}, 21, 4,
           5);
}

// A slid sequence gives what a fresh one with the same live tokens gives: the op's meaning against itself
// without skips.
TEST(SlidingAttentionMeaning, SkippingIsTheSameAsNeverHavingStored) {
  graph::KvCache cache{"kv", 1, 1, 4, kPage, DType::kF32};
  std::mt19937 random(23);
  auto run = [&](const std::vector<float>& values, int32_t begin, int32_t count,
                 const std::vector<int32_t>& pages) {
    OpCase c({{"rows", 1}, {"batch", 1}, {"pages", int64_t(pages.size())}});
    c.state(cache, 4);
    c.states["kv"].values = values;
    const Dim r = Dim::symbol("rows"), batch = Dim::symbol("batch");
    graph::AttentionWindow w{.skip_begin = c.indices(batch, {begin}),
                             .skip_count = c.indices(batch, {count})};
    w.key_factors = c.matrix(8, 4, make_factors(8, 4));
    c.g->attention("kv", 0, c.matrix(r, 4, {1, -2, 0.5, 1}), c.indices(r, {0}), c.indices(r, {6}),
                   c.indices(batch + 1, {0, int32_t(pages.size())}), c.indices(Dim::symbol("pages"), pages),
                   1, 0.5, w);
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
