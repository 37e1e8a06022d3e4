// The radix tree beside a search of all texts.
#include "serve/cache/prefix_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace mlc::serve {
namespace {

using Text = std::vector<int32_t>;

int64_t shared_beginning(const Text& a, const Text& b) { return std::ranges::mismatch(a, b).in1 - a.begin(); }

std::map<int64_t, int64_t> matches(const PrefixTree& tree, const Text& prompt) {
  std::map<int64_t, int64_t> found;
  int64_t last = INT64_MAX;
  tree.visit_matches(prompt, [&](int64_t id, int64_t shared) {
    EXPECT_TRUE(found.emplace(id, shared).second) << "text " << id << " is visited twice";
    EXPECT_LE(shared, last) << "the longest come first";
    last = shared;
    return true;
  });
  return found;
}

TEST(PrefixTreeTest, FindsWhatASearchFinds) {
  std::mt19937 random(5);
  auto number = [&](int most) { return static_cast<int32_t>(random() % static_cast<unsigned>(most)); };
  auto text = [&] {
    Text t(static_cast<size_t>(number(9)));
    for (int32_t& token : t) token = number(3);  // few tokens: many shared beginnings
    return t;
  };
  PrefixTree tree;
  std::map<int64_t, Text> texts;
  for (int64_t step = 0; step < 3000; ++step) {
    if (texts.size() < 5 || (texts.size() < 60 && number(2) == 0)) {
      texts[step] = text();
      tree.insert(step, texts[step]);
    } else {
      auto gone = std::next(texts.begin(), number(static_cast<int>(texts.size())));
      EXPECT_TRUE(tree.contains(gone->first));
      tree.erase(gone->first);
      EXPECT_FALSE(tree.contains(gone->first));
      texts.erase(gone);
    }
    const Text prompt = text();
    std::map<int64_t, int64_t> expected;
    for (const auto& [id, t] : texts)
      if (const int64_t n = shared_beginning(t, prompt)) expected[id] = n;
    ASSERT_EQ(matches(tree, prompt), expected) << "step " << step;
  }
}

TEST(PrefixTreeTest, StopsWhenTheVisitorHasSeenEnough) {
  PrefixTree tree;
  tree.insert(1, Text{1, 2, 3});
  tree.insert(2, Text{1, 2});
  tree.insert(3, Text{1, 9});
  std::vector<int64_t> seen;
  tree.visit_matches(Text{1, 2, 3, 4}, [&](int64_t id, int64_t) {
    seen.push_back(id);
    return id != 2;
  });
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2}));
  tree.erase(77);
}

}  // namespace
}  // namespace mlc::serve
