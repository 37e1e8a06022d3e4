// A draft model proposes what it would write after a text, whatever it proposed before and however the text
// went on.
#include "serve/speculate/model_drafter.h"

#include <gtest/gtest.h>

#include "support/compiled_model.h"
#include "support/failing_device.h"
#include "support/native_kernels.h"

namespace mlc::serve {
namespace {

using testing::LoadedModel;
using testing::must;

// A toy, as a draft model and its tokenizer.
class DrafterTest : public ::testing::TestWithParam<const char*> {
 protected:
  DrafterTest() {
    testing::convert_checkpoint(testing::toy_file(GetParam(), ""), "q0f16", folder.path());
    testing::compile_to(folder.file("model.so"), testing::toy_config(GetParam(), "q0f16"), 0,
                        {runnable_targets().front()});
    tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
    model = load({.max_sequences = 2, .context_tokens = 64, .total_tokens = 192, .deterministic = true});
    other = load({.max_sequences = 1, .context_tokens = 64, .deterministic = true});
  }
  LoadedModel load(const runtime::ModelLimits& limits) const {
    return LoadedModel::load(must(runtime::open_device("cpu", {.threads = 1})), folder.file("model.so"),
                             folder.path(), limits);
  }
  std::unique_ptr<RequestState> request(std::vector<int32_t> tokens, double temperature = 0) const {
    Request r{.id = 1, .prompt = std::move(tokens), .config = {}, .on_update = {}};
    r.config.temperature = temperature;
    r.config.seed = 5;
    return std::make_unique<RequestState>(std::move(r), tokenizer);
  }
  // What is proposed for the texts.
  static std::vector<TokenTree> propose(Drafter& drafter, const std::vector<RequestState*>& requests,
                                        int64_t depth, int64_t width = 1, int64_t catch_up = 64) {
    std::vector<Drafter::Job> jobs;
    for (RequestState* r : requests) {
      r->draft = {.tokens = {r->tokens.back()}, .parents = {-1}, .known = 1};
      jobs.push_back({r, depth, width});
    }
    drafter.begin(jobs, catch_up);
    while (!drafter.poll()) drafter.wait();
    EXPECT_TRUE(drafter.status().is_ok()) << drafter.status().message();
    std::vector<TokenTree> trees;
    for (RequestState* r : requests) trees.push_back(r->draft);
    return trees;
  }
  // A draft model's that knows nothing of the past.
  TokenTree fresh(const std::vector<int32_t>& tokens, int64_t depth) const {
    ModelDrafter drafter(*other.model, 0, other->vocab_size());
    auto r = request(tokens);
    TokenTree tree = propose(drafter, {r.get()}, depth)[0];
    drafter.release(*r);
    return tree;
  }

  testing::TempFolder folder;
  std::shared_ptr<const Tokenizer> tokenizer;
  LoadedModel model, other;
};

std::vector<int32_t> text(int32_t n, int32_t seed) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < n; ++i) tokens.push_back(3 + (seed * 131 + i * 37) % 290);
  return tokens;
}

// Texts that go on as proposed, otherwise, and by several tokens at once; two side by side.
TEST_P(DrafterTest, ProposalsFollowFromTheTextAlone) {
  ModelDrafter drafter(*model.model, 4, model->vocab_size());
  auto a = request(text(13, 1)), b = request(text(20, 2));
  for (int round = 0; round < 7; ++round) {
    const std::vector<TokenTree> trees = propose(drafter, {a.get(), b.get()}, 3 + round % 2);
    EXPECT_EQ(trees[0].tokens, fresh(a->tokens, 3 + round % 2).tokens) << round;
    EXPECT_EQ(trees[1].tokens, fresh(b->tokens, 3 + round % 2).tokens) << round;
    ASSERT_TRUE(trees[0].is_chain());
    for (int i = 0; i < round % 4; ++i) a->tokens.push_back(trees[0].tokens[static_cast<size_t>(1 + i)]);
    a->tokens.push_back(3 + round * 17);
    for (int i = 0; i < 1 + round % 3; ++i) b->tokens.push_back(5 + (round * 29 + i) % 200);
  }
  drafter.release(*a);
  drafter.release(*b);
  EXPECT_EQ(a->draft_text.sequence, -1);
  drafter.clear();
  EXPECT_EQ(model->sequences().used().pages[0], 0) << "a page is lost";
  EXPECT_EQ(model->sequences().used().slots, 0) << "a slot is lost";
}

INSTANTIATE_TEST_SUITE_P(Toys, DrafterTest, ::testing::Values("llama", "gemma3_text", "rwkv5"));

using LlamaDrafterTest = DrafterTest;
INSTANTIATE_TEST_SUITE_P(Toys, LlamaDrafterTest, ::testing::Values("llama"));

// A long text is read in parts, beside others that get their proposals meanwhile.
TEST_P(LlamaDrafterTest, TextsAreCaughtUpWith) {
  ModelDrafter drafter(*model.model, 4, model->vocab_size());
  auto longer = request(text(50, 1)), shorter = request(text(6, 2));
  for (int round = 0; round < 3; ++round) {
    const auto trees = propose(drafter, {longer.get(), shorter.get()}, 2, 1, 9);
    EXPECT_EQ(trees[1].proposals(), 2);
    // 9 + 9, then the 32 that are left are read at once
    EXPECT_EQ(trees[0].proposals(), round < 2 ? 0 : 2) << round;
    if (round < 2) continue;
    EXPECT_EQ(trees[0].tokens, fresh(longer->tokens, 2).tokens);
  }
  const int64_t before = drafter.steps();
  drafter.release(*longer);
  auto next = request(longer->tokens);
  next->tokens.push_back(9);
  EXPECT_EQ(propose(drafter, {next.get()}, 1, 1, 0)[0].proposals(), 1) << "nothing was kept of the text";
  EXPECT_EQ(drafter.steps(), before + 1);
}

TEST_P(LlamaDrafterTest, TheWayThatGoesOnLiesTogether) {
  ModelDrafter drafter(*model.model, 0, model->vocab_size());
  auto r = request(text(13, 1));
  const TokenTree chain = fresh(r->tokens, 3);
  const TokenTree tree = propose(drafter, {r.get()}, 3, 3)[0];
  ASSERT_EQ(tree.proposals(), 9);
  EXPECT_EQ(std::vector(tree.tokens.begin(), tree.tokens.begin() + 4), chain.tokens);
  EXPECT_EQ(tree.parents, (std::vector<int32_t>{-1, 0, 1, 2, 0, 0, 1, 1, 2, 2}));
  for (int32_t node = 4; node < 10; ++node)
    EXPECT_EQ(tree.child(tree.parents[static_cast<size_t>(node)], tree.tokens[static_cast<size_t>(node)]),
              node)
        << "proposed twice";
}

// Proposals take the random numbers that the answer's tokens will take.
TEST_P(LlamaDrafterTest, DrawsAreThoseOfTheRequest) {
  ModelDrafter drafter(*model.model, 0, model->vocab_size());
  auto r = request(text(13, 1), 0.7);
  const TokenTree tree = propose(drafter, {r.get()}, 4)[0];
  must(model->sequences().add(1000));
  std::vector<int32_t> tokens = r->tokens;
  Sampler sampler = r->sampler;
  for (int64_t i = 0; i < 4; ++i) {
    const runtime::StepSequence step{1000, tokens};
    std::vector<float> logits = model.step({step}, runtime::WantLogits::kLast);
    tokens = {sampler.sample(logits, r->request.config, {})};
    EXPECT_EQ(tree.tokens[static_cast<size_t>(1 + i)], tokens[0]) << i;
  }
}

// Texts that the model does not have room for, or whose tokens it does not know, get no proposals.
TEST_P(LlamaDrafterTest, WithoutRoomThereAreNoProposals) {
  model = load({.max_sequences = 2, .context_tokens = 64, .total_tokens = 64, .deterministic = true});
  ModelDrafter drafter(*model.model, 1, 512);
  auto a = request(text(30, 1)), b = request(text(40, 2));
  const auto trees = propose(drafter, {a.get(), b.get()}, 4);
  EXPECT_EQ(trees[0].proposals(), 4);
  EXPECT_EQ(trees[1].proposals(), 0);
  drafter.release(*a);
  EXPECT_EQ(propose(drafter, {b.get()}, 4)[0].proposals(), 4) << "kept texts make way";
  drafter.release(*b);
  auto unknown = request({3, 512, 4});
  EXPECT_EQ(propose(drafter, {unknown.get()}, 4)[0].proposals(), 0);
  const TokenTree all = fresh(text(13, 1), 4);
  ModelDrafter fewer(*other.model, 0, all.tokens[2]);  // a model that has not all of its tokens
  auto c = request(text(13, 1));
  const TokenTree some = propose(fewer, {c.get()}, 4)[0];
  EXPECT_LE(some.proposals(), 1);
  for (size_t i = 1; i < some.tokens.size(); ++i) EXPECT_LT(some.tokens[i], all.tokens[2]);
}

TEST_P(LlamaDrafterTest, AFailureEndsProposals) {
  testing::FailingDevice* device = nullptr;
  LoadedModel failing = LoadedModel::load(testing::FailingDevice::wrap(device), folder.file("model.so"),
                                          folder.path(), {.max_sequences = 2, .context_tokens = 64});
  ModelDrafter drafter(*failing.model, 0, 512);
  auto a = request(text(13, 1)), b = request(text(20, 2));
  device->fail_at = device->submissions + 1;  // the second round
  a->draft = b->draft = {.tokens = {3}, .parents = {-1}, .known = 1};
  for (int i = 0; i < 2; ++i) {
    drafter.begin({{a.get(), 4, 1}, {b.get(), 4, 1}}, 64);
    while (!drafter.poll()) drafter.wait();
    EXPECT_EQ(drafter.status().message(), testing::FailingDevice::kFailure);
    EXPECT_EQ(a->draft.proposals(), 1);
  }
  drafter.release(*a);
  drafter.release(*b);
  EXPECT_EQ(failing->sequences().used().pages[0], 0);
}

}  // namespace
}  // namespace mlc::serve
