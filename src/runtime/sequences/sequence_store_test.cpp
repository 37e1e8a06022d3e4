// Tests of the sequence store: random walks against lists of tokens, with pages in random order; a shadow of
// the device's memory says which token each place holds, and is NaN, so to speak, where a page was freed.
#include "runtime/sequences/sequence_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace mlc::runtime {
namespace {

using Tokens = std::vector<int32_t>;
constexpr int64_t kPage = 4;

// A text, and where it can be rewound to for sure.
struct Text {
  Tokens tokens;
  std::set<int64_t> snapshots;
};

// The states' memory: a token in each place of each group's pages, a whole text in each slot. Moved by the
// copies that the store asks for, as Model does it.
struct Shadow {
  StoreLimits limits;
  SequenceStore store;
  std::vector<Tokens> pages;
  std::vector<Tokens> slots;
  std::map<SequenceId, Text> texts;
  int32_t next_token = 0;

  explicit Shadow(const StoreLimits& l) : limits(l), store(l) {
    for (const PagePoolLimits& g : l.groups)
      pages.emplace_back(static_cast<size_t>(g.pages * g.page_size), -1);
    slots.resize(static_cast<size_t>(l.slots));
  }

  void copy() {
    for (size_t g = 0; g < pages.size(); ++g) {
      for (const StateCopy& c : store.page_copies(g))
        for (size_t i = 0; i < kPage; ++i)
          pages[g][static_cast<size_t>(c.target) * kPage + i] =
              pages[g][static_cast<size_t>(c.source) * kPage + i];
      store.page_copies(g).clear();
    }
    for (const StateCopy& c : store.slot_copies())
      slots[static_cast<size_t>(c.target)] = slots[static_cast<size_t>(c.source)];
    store.slot_copies().clear();
  }

  // A step; false where the store has no room.
  bool step(const std::map<SequenceId, int64_t>& counts) {
    std::vector<Tokens> tokens;
    std::vector<StepSequence> sequences;
    for (auto [id, n] : counts) {
      Tokens& t = tokens.emplace_back();
      for (int64_t i = 0; i < n; ++i) t.push_back(next_token++);
    }
    for (size_t i = 0; auto [id, n] : counts) sequences.push_back({.id = id, .tokens = tokens[i++]});
    if (!store.reserve(sequences).is_ok()) return false;
    copy();
    poison_free_pages();
    for (const StepSequence& s : sequences) run(s);
    for (const StepSequence& s : sequences) store.commit(s.id);
    return true;
  }

  // Each row writes its token to every state and then looks at all that it sees.
  void run(const StepSequence& s) {
    Tokens& text = texts[s.id].tokens;
    for (int32_t token : s.tokens) {
      text.push_back(token);
      const auto length = static_cast<int64_t>(text.size());
      if (limits.slots > 0) {
        Tokens& slot = slots[static_cast<size_t>(store.slot(s.id))];
        slot.push_back(token);
        ASSERT_EQ(slot, text);
      }
      for (size_t g = 0; g < pages.size(); ++g) {
        const BlockTable& table = store.table(g, s.id);
        auto place = [&](int64_t i) -> int32_t& {
          return pages[g].at(static_cast<size_t>(store.pool(g).slot(table, i)));
        };
        place(length - 1) = token;
        const int64_t window = limits.groups[g].window;
        for (int64_t i = window > 0 ? std::max<int64_t>(0, length - window) : 0; i < length; ++i)
          ASSERT_EQ(place(i), text[static_cast<size_t>(i)]) << "group " << g << ", token " << i;
      }
    }
  }

  std::set<int32_t> used_pages(size_t g) const {
    std::set<int32_t> used;
    for (const auto& [id, text] : texts)
      for (int32_t page : store.table(g, id).pages)
        if (page != kFreedPage) used.insert(page);
    return used;
  }

  void poison_free_pages() {
    for (size_t g = 0; g < pages.size(); ++g) {
      const std::set<int32_t> used = used_pages(g);
      for (size_t i = 0; i < pages[g].size(); ++i)
        if (!used.contains(static_cast<int32_t>(i / kPage))) pages[g][i] = -1;
    }
  }

  // Every page and slot is in use or free.
  void check() const {
    for (size_t g = 0; g < pages.size(); ++g)
      ASSERT_EQ(store.used().pages[g], static_cast<int64_t>(used_pages(g).size()));
    std::set<int32_t> used;
    for (const auto& [id, text] : texts) {
      ASSERT_EQ(store.length(id), static_cast<int64_t>(text.tokens.size()));
      used.insert(store.slot(id));
    }
    if (limits.slots == 0) return;
    ASSERT_FALSE(used.contains(0));
    ASSERT_EQ(used.size(), texts.size());
    ASSERT_TRUE(slots[0].empty());
  }
};

// Where a text can be rewound to by the definition: what the next row sees must be in pages that were not
// given back, which a walk of the store alone cannot know; but never less than these.
void expect_point(const Shadow& s, SequenceId id, int64_t n) {
  const int64_t point = s.store.rewind_point(id, n), length = s.store.length(id);
  ASSERT_GE(point, 0);
  ASSERT_LE(point, n);
  const bool plain = s.limits.slots == 0 &&
                     std::ranges::all_of(s.limits.groups, [](const auto& g) { return g.window == 0; });
  ASSERT_TRUE(point == n || !(plain || n == length || n == 0)) << point << " for " << n;
  ASSERT_TRUE(point == 0 || point == length || s.limits.slots == 0 ||
              s.texts.at(id).snapshots.contains(point));
  ASSERT_EQ(s.store.rewind_point(id, point), point);
}

struct Walk : Shadow {
  explicit Walk(const StoreLimits& l) : Shadow(l) {}

  std::mt19937 random{1};
  SequenceId next = 0;
  int refused = 0, rewound = 0, to_snapshots = 0;

  int64_t below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }
  SequenceId some_id() { return std::next(texts.begin(), below(static_cast<int64_t>(texts.size())))->first; }
  // A length of its text, most often one near the end.
  int64_t some_length(SequenceId id) {
    return std::max<int64_t>(0, store.length(id) - below(below(4) == 0 ? 60 : 6));
  }

  void add() {
    const bool fits = store.cost(next, 0).fits_in(store.available());
    ASSERT_EQ(store.add(next).is_ok(), fits);
    if (fits) texts[next++];
  }

  void remove(SequenceId id) {
    ASSERT_TRUE(store.remove(id).is_ok());
    texts.erase(id);
  }

  void append(SequenceId id) {
    std::map<SequenceId, int64_t> counts = {{id, 1 + below(9)}};
    if (below(5) == 0) counts[some_id()] = 2;
    StateCost cost;
    for (auto [i, n] : counts) cost += store.cost(i, n);
    const bool fits = cost.fits_in(store.available()), alone = counts.size() == 1;
    ASSERT_TRUE(!alone || (store.tokens_that_fit(id, counts[id]) == counts[id]) == fits);
    const bool done = step(counts);
    ASSERT_TRUE(!alone || done == fits);
    if (!done) ++refused, store.forget_snapshot();
  }

  void rewind(SequenceId id) {
    const int64_t n = some_length(id), point = store.rewind_point(id, n);
    expect_point(*this, id, n);
    ASSERT_TRUE(point == n || !store.rewind(id, n).is_ok());
    ASSERT_TRUE(store.rewind(id, point).is_ok());
    Text& text = texts[id];
    rewound += point > 0, to_snapshots += text.snapshots.contains(point);
    text.tokens.resize(static_cast<size_t>(point));
    text.snapshots.erase(text.snapshots.upper_bound(point), text.snapshots.end());
  }

  void fork(SequenceId id) {
    const int64_t at = store.rewind_point(id, some_length(id));
    if (!store.fork(id, next, at).is_ok()) return;
    const Tokens& tokens = texts[id].tokens;
    texts[next++].tokens.assign(tokens.begin(), tokens.begin() + at);
  }

  void act() {
    if (texts.empty()) return add();
    const SequenceId id = some_id();
    const int64_t action = below(12);
    if (texts.size() > 8 || texts[id].tokens.size() > 80 || action == 11) return remove(id);
    if (action == 0) return add();
    if (action < 6) return append(id);
    if (action < 8) return rewind(id);
    if (action < 10) return fork(id);
    store.snapshot(id);
    texts[id].snapshots.insert(store.length(id));
  }
};

class Walks : public ::testing::TestWithParam<StoreLimits> {};

TEST_P(Walks, KeepEveryTokenThatARowSees) {
  Walk walk(GetParam());
  for (int round = 0; round < 4000; ++round) {
    walk.act();
    walk.check();
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_TRUE(walk.refused > 20 || walk.limits.groups.empty());
  EXPECT_GT(walk.rewound, 40);
  EXPECT_GT(walk.to_snapshots, 5);
  while (!walk.texts.empty()) walk.remove(walk.texts.begin()->first);
  for (size_t g = 0; g < walk.store.groups(); ++g) EXPECT_EQ(walk.store.used().pages[g], 0);
  EXPECT_EQ(walk.store.used().slots, 0);
  EXPECT_FALSE(walk.store.forget_snapshot());
}

PagePoolLimits group(int64_t pages, int64_t window = 0) {
  return {.pages = pages, .page_size = kPage, .window = window, .sliding = {}, .shuffle_seed = 7};
}

INSTANTIATE_TEST_SUITE_P(States, Walks,
                         ::testing::Values(StoreLimits{{group(25)}}, StoreLimits{{group(20, 10)}},
                                           StoreLimits{{group(30), group(15, 8)}},
                                           StoreLimits{{group(30), group(15, 8), group(20, 1)}},
                                           StoreLimits{{}, 9}, StoreLimits{{group(25), group(20, 9)}, 12}));

TEST(SequenceStores, SlidingWindowKeepsSinksAndTheLastTokens) {
  for (int64_t sinks : {0, 1, 4, 6}) {
    PagePool pool({.pages = 12, .page_size = kPage, .window = 0, .sliding = {16, sinks}, .shuffle_seed = 7});
    BlockTable table = pool.make();
    std::vector<StateCopy> copies;
    Tokens memory(12 * kPage, -1), expected;
    std::mt19937 random(3);
    int32_t next_token = 0;
    for (int step = 0; step < 200; ++step) {
      pool.append(table, 1 + static_cast<int64_t>(random() % 5), copies);
      while (static_cast<int64_t>(expected.size()) < table.length) {
        memory[static_cast<size_t>(pool.slot(table, static_cast<int64_t>(expected.size())))] = next_token;
        expected.push_back(next_token++);
      }
      for (int slid = 0; slid < 2; ++slid) {
        ASSERT_EQ(table.length, static_cast<int64_t>(expected.size()));
        for (size_t i = 0; i < expected.size(); ++i)
          ASSERT_EQ(memory[static_cast<size_t>(pool.slot(table, static_cast<int64_t>(i)))], expected[i]);
        pool.trim(table, {});
        while (expected.size() > 16) expected.erase(expected.begin() + sinks);
      }
      // 16 tokens in 4 pages, the sinks' part page, one partly dropped, one spare
      EXPECT_LE(pool.total_pages() - pool.free_pages(), 7);
    }
    EXPECT_TRUE(copies.empty());
  }
}

// What has been dropped cannot come back.
TEST(SequenceStores, ASequenceThatHasSlidStandsWhereItIs) {
  for (int64_t sinks : {0, 4}) {  // 0: whole pages leave and none is kept in part
    SequenceStore store(
        {{{.pages = 12, .page_size = kPage, .window = 0, .sliding = {16, sinks}, .shuffle_seed = 7}}});
    const Tokens tokens(20);
    ASSERT_TRUE(store.add(1).is_ok());
    const StepSequence step{1, tokens};
    ASSERT_TRUE(store.reserve({&step, 1}).is_ok());
    EXPECT_EQ(store.attended(1), 20);
    store.commit(1);
    EXPECT_EQ(store.attended(1), 16);
    EXPECT_EQ(store.length(1), 20);
    EXPECT_EQ(
        store.rewind(1, 19).message(),
        "state: rewind of sequence 1 at 19 of its 20 tokens, what came before is not kept; the last place "
        "before that is 0");
    EXPECT_EQ(store.rewind_point(1, 3), 0);  // dropped before the table's first token
    EXPECT_FALSE(store.fork(1, 2, 19).is_ok());
    EXPECT_TRUE(store.fork(1, 2, 20).is_ok());
    EXPECT_TRUE(store.rewind(1, 20).is_ok());
    EXPECT_TRUE(store.rewind(1, 0).is_ok());
    EXPECT_EQ(store.attended(1), 0);
    EXPECT_EQ(store.attended(2), 16);
  }
}

TEST(SequenceStores, SnapshotsGiveWayOldestFirst) {
  SequenceStore store({{group(6, 4)}, 4});
  const Tokens tokens(6);
  ASSERT_TRUE(store.add(1).is_ok());
  auto step = [&](size_t n) {
    const StepSequence s{1, std::span(tokens).first(n)};
    ASSERT_TRUE(store.reserve({&s, 1}).is_ok());
    store.commit(1);
  };
  step(6);
  store.snapshot(1);
  store.snapshot(1);  // the same
  EXPECT_EQ(store.used().slots, 2);
  step(6);
  EXPECT_EQ(store.used().pages[0], 3);  // 4..7 of the snapshot and 8..11; 0..3 is page 0, which it needs too
  EXPECT_EQ(store.rewind_point(1, 11), 6);
  step(1);
  store.snapshot(1);
  store.snapshot(1);
  EXPECT_EQ(store.used().slots, 3);
  EXPECT_TRUE(store.forget_snapshot());
  EXPECT_EQ(store.rewind_point(1, 12), 0);
  EXPECT_EQ(store.used().pages[0], 2);
  EXPECT_TRUE(store.forget_snapshot());
  EXPECT_FALSE(store.forget_snapshot());
  EXPECT_EQ(store.used().slots, 1);
}

TEST(SequenceStores, CopiesThatTouchEachOtherAreNotMadeAtOnce) {
  const std::vector<StateCopy> apart = {{1, 2}, {1, 3}, {4, 5}};
  EXPECT_EQ(independent_copies(apart), 3u);
  for (StateCopy last : {StateCopy{2, 6}, {6, 1}, {6, 3}}) {
    std::vector<StateCopy> copies = apart;
    copies.push_back(last);
    EXPECT_EQ(independent_copies(copies), 3u);
  }
  EXPECT_EQ(independent_copies({}), 0u);
}

TEST(SequenceStores, MisuseIsASentence) {
  SequenceStore store({{{.pages = 2, .page_size = 16, .window = 0, .sliding = {}, .shuffle_seed = {}}}, 2});
  const Tokens tokens(33);
  const StepSequence step{5, tokens};
  EXPECT_EQ(store.reserve({&step, 1}).message(), "state: there is no sequence 5");
  EXPECT_EQ(store.remove(5).message(), "state: there is no sequence 5");
  ASSERT_TRUE(store.add(5).is_ok());
  EXPECT_EQ(store.add(5).message(), "state: sequence 5 exists already");
  EXPECT_EQ(store.add(6).message(), "state: 1 slots are needed, 0 of 1 are free");
  EXPECT_EQ(store.reserve({&step, 1}).message(), "state: 3 pages of 16 tokens are needed, 2 of 2 are free");
  EXPECT_EQ(store.rewind(5, 1).message(), "state: rewind of sequence 5 at 1, it has 0 tokens");
  EXPECT_EQ(store.fork(5, 6, 1).message(), "state: fork of sequence 5 at 1, it has 0 tokens");
  const StepSequence one{5, std::span(tokens).first(1)};
  ASSERT_TRUE(store.reserve({&one, 1}).is_ok());
  EXPECT_EQ(store.reserve({&one, 1}).message(),
            "state: sequence 5 is in a step that has not ended; remove it");
  EXPECT_TRUE(store.remove(5).is_ok());
  EXPECT_EQ(store.used().pages[0], 0);
}

}  // namespace
}  // namespace mlc::runtime
