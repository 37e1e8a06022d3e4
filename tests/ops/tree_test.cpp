// Attention whose rows are trees on CPUs, against the graph's meaning, and what that meaning is.
#include "ops/tree_case.h"
#include "support/op_batch.h"

namespace mlc::testing {
namespace {

using Tree = OpTest;

TEST_F(Tree, OfEveryCacheType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8})
    add_trees(
        [this](const std::string& label, const auto& dims) -> OpCase& { return batch.add(label, dims); },
        dtype);
}

// A row of a tree sees what it would see if its ancestors alone followed the text.
TEST(TreeMeaning, ARowSeesItsAncestorsAlone) {
  constexpr int64_t kText = 21, kDim = 4;
  const graph::PagedState cache = graph::PagedState::of_heads("kv", 1, 1, kDim, 16, DType::kF32);
  std::mt19937 random(3);
  const std::vector<int> parents = random_tree(20, random);
  const std::vector<int32_t> masks = tree_masks(parents);
  const std::vector<float> tokens = random_floats((kText + 20) * 2 * kDim, 1, random);
  // The last of `stored` asks, of a sequence that stores those tokens.
  auto attend = [&](const std::vector<int64_t>& stored, int32_t mask, int64_t window) {
    OpCase c({{"rows", 1}, {"batch", 1}, {"pages", 3}});
    c.state(cache, 3);
    for (size_t at = 0; at < stored.size(); ++at)
      for (bool value : {false, true})
        std::copy_n(tokens.begin() + (stored[at] * 2 + value) * kDim, kDim,
                    graph::cached_head(c.states["kv"], 0, value, 0, static_cast<int64_t>(at)));
    const Dim row = Dim::symbol("rows");
    c.g->attention("kv", 0,
                   {.q = c.matrix(row, kDim, {1, -2, 0.5, 1}),
                    .row_sequence = c.indices(row, {0}),
                    .limits = c.indices(row, {static_cast<int32_t>(stored.size())}),
                    .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, 3}),
                    .page_ids = c.indices(Dim::symbol("pages"), {0, 1, 2}),
                    .mask = mask ? c.indices(row, {mask}) : nullptr},
                   {.heads = 1, .scale = 0.5, .window = window});
    const graph::Node& node = *c.module.functions[0]->nodes.back();
    std::vector<const graph::HostTensor*> inputs;
    for (const graph::Value* v : node.inputs) inputs.push_back(&c.logical(v));
    graph::InterpretContext context{c.states};
    return graph::find_op("attention")->interpret(node, inputs, {}, context)[0].floats;
  };
  for (int64_t window : {0, 31})
    for (int i = 0; i < 20; ++i) {
      std::vector<int64_t> all, path;
      for (int64_t t = 0; t <= kText + i; ++t) all.push_back(t);
      for (int at = i; at >= 0; at = parents[size_t(at)]) path.insert(path.begin(), kText + at);
      for (int64_t t = kText; t-- > 0;) path.insert(path.begin(), t);
      EXPECT_EQ(attend(all, masks[size_t(i)], window), attend(path, 0, window)) << i << " window " << window;
    }
}

}  // namespace
}  // namespace mlc::testing
