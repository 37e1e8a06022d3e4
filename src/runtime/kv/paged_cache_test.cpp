// Tests of the paged cache: a shadow model keeps every token's slot and contents, pages come in random order.
#include "runtime/kv/paged_cache.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

namespace mlc::runtime {
namespace {

// The pool's memory holds a token number per slot, moved by the copies the cache asks for.
struct Shadow {
  PagedCache cache;
  std::vector<int> memory;
  std::map<SequenceId, std::vector<int>> expected;
  int next_token = 0;

  Shadow(int64_t pages, int64_t page_size)
      : cache(pages, page_size, 7), memory(static_cast<size_t>(pages * page_size), -1) {}

  void copy(const std::vector<PageCopy>& copies) {
    size_t n = static_cast<size_t>(cache.page_size());
    for (const PageCopy& c : copies)
      for (size_t i = 0; i < n; ++i)
        memory[static_cast<size_t>(c.target) * n + i] = memory[static_cast<size_t>(c.source) * n + i];
  }
  bool append(SequenceId id, int64_t n) {
    auto copies = cache.append(id, n);
    if (!copies.is_ok()) return false;
    copy(*copies);
    for (int64_t i = 0; i < n; ++i) {
      int64_t index = cache.length(id) - n + i;
      memory[static_cast<size_t>(cache.slot(id, index))] = next_token;
      expected[id].push_back(next_token++);
    }
    return true;
  }
  void check() {
    std::set<int32_t> used;
    for (const auto& [id, tokens] : expected) {
      ASSERT_EQ(cache.length(id), static_cast<int64_t>(tokens.size()));
      for (size_t i = 0; i < tokens.size(); ++i)
        ASSERT_EQ(memory[static_cast<size_t>(cache.slot(id, static_cast<int64_t>(i)))], tokens[i])
            << "token " << i;
      for (int32_t p : cache.pages(id)) used.insert(p);
    }
    ASSERT_EQ(cache.free_pages() + static_cast<int64_t>(used.size()), cache.total_pages());
  }
};

TEST(PagedCaches, RandomWalkOfAppendsForksAndPopsKeepsEveryToken) {
  Shadow s(40, 4);
  std::mt19937 random(1);
  SequenceId next = 0;
  std::vector<SequenceId> ids;
  for (int step = 0; step < 4000; ++step) {
    int action = static_cast<int>(random() % 10);
    if (ids.empty() || action == 0) {
      ASSERT_TRUE(s.cache.add_sequence(next).is_ok());
      s.expected[next];
      ids.push_back(next++);
    } else {
      size_t which = random() % ids.size();
      SequenceId id = ids[which];
      auto& tokens = s.expected[id];
      if (action < 6) {
        int64_t before = s.cache.length(id), n = static_cast<int64_t>(random() % 9);
        if (!s.append(id, n)) {
          EXPECT_EQ(s.cache.length(id), before);
        }
      } else if (action == 6) {
        int64_t n = static_cast<int64_t>(random() % (tokens.size() + 1));
        ASSERT_TRUE(s.cache.popn(id, n).is_ok());
        tokens.resize(tokens.size() - static_cast<size_t>(n));
      } else if (action == 7) {
        int64_t at = static_cast<int64_t>(random() % (tokens.size() + 1));
        auto copies = s.cache.fork_sequence(id, next, at);
        if (copies.is_ok()) {
          s.copy(*copies);
          s.expected[next].assign(tokens.begin(), tokens.begin() + at);
          ids.push_back(next++);
        }
      } else if (action == 8) {
        ASSERT_TRUE(s.cache.remove_sequence(id).is_ok());
        s.expected.erase(id);
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(which));
      }
    }
    s.check();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(PagedCaches, SlidingWindowKeepsSinksAndTheLastTokens) {
  for (int64_t sinks : {0, 1, 4, 6}) {
    Shadow s(12, 4);
    ASSERT_TRUE(s.cache.add_sequence(1).is_ok());
    ASSERT_TRUE(s.cache.enable_sliding_window(1, 16, sinks).is_ok());
    std::mt19937 random(3);
    for (int step = 0; step < 200; ++step) {
      ASSERT_TRUE(s.append(1, 1 + static_cast<int64_t>(random() % 5)));
      s.check();
      s.cache.slide(1);
      auto& tokens = s.expected[1];
      while (tokens.size() > 16) tokens.erase(tokens.begin() + sinks);
      s.check();
      if (::testing::Test::HasFatalFailure()) return;
      EXPECT_LE(s.cache.pages(1).size(),
                7u);  // 16 tokens in 4 pages, sinks' part page, one partly dropped, one spare
    }
  }
}

// What has been dropped cannot come back; what was appended since can go.
TEST(PagedCaches, ASequenceThatHasSlidIsCutNoShorterThanItsWindow) {
  for (int64_t sinks : {0, 4}) {  // 0: whole pages leave and none is kept in part
    PagedCache cache(12, 4, 7);
    ASSERT_TRUE(cache.enable_sliding_windows(16, sinks).is_ok());
    ASSERT_TRUE(cache.add_sequence(1).is_ok());
    ASSERT_TRUE(cache.append(1, 20).is_ok());
    cache.slide(1);
    ASSERT_EQ(cache.length(1), 16);
    EXPECT_EQ(cache.room(1), static_cast<int64_t>(cache.pages(1).size()) * 4 - 16 - cache.skip_count(1));
    EXPECT_EQ(cache.popn(1, 1).message(),
              "kv cache: cannot take 1 tokens from sequence 1 of 16, whose window has dropped those before");
    EXPECT_FALSE(cache.fork_sequence(1, 2, 15).is_ok());
    ASSERT_TRUE(cache.append(1, 3).is_ok());
    EXPECT_TRUE(cache.popn(1, 3).is_ok());
    EXPECT_FALSE(cache.popn(1, 1).is_ok());
    EXPECT_TRUE(cache.popn(1, 0).is_ok());
    EXPECT_TRUE(cache.fork_sequence(1, 2, 16).is_ok());
  }
}

TEST(PagedCaches, MisuseIsASentence) {
  PagedCache cache(2, 16);
  EXPECT_EQ(cache.append(5, 1).status().message(), "kv cache: there is no sequence 5");
  ASSERT_TRUE(cache.add_sequence(5).is_ok());
  EXPECT_EQ(cache.append(5, 33).status().message(),
            "kv cache: 3 pages of 16 tokens are needed, 2 of 2 are free");
  EXPECT_FALSE(cache.popn(5, 1).is_ok());
  EXPECT_FALSE(cache.fork_sequence(5, 6, 1).is_ok());
  EXPECT_FALSE(cache.enable_sliding_window(5, 4, 4).is_ok());
}

}  // namespace
}  // namespace mlc::runtime
