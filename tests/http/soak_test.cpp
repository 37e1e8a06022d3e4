// 2,000 mixed requests at once over real sockets (bench/serve/soak.cpp runs 100,000): none is lost, mixed up
// or kept.
#include "support/soak.h"

#include <gtest/gtest.h>

namespace mlc::testing {
namespace {

TEST(SoakOfTheServer, EachAnswerIsThatOfItsLoneRun) {
  constexpr int64_t kRequests = 2000;
  Soak soak;
  soak.run(0, kRequests, 12);
  EXPECT_EQ(soak.wrong(), std::vector<std::string>{});
  EXPECT_EQ(soak.answered() + soak.left() + soak.refused(), kRequests);
  EXPECT_GT(soak.answered(), kRequests / 3);
  EXPECT_GT(soak.left(), kRequests / 5);
  EXPECT_GT(soak.refused(), kRequests / 50);
  EXPECT_EQ(soak.calls_at_work(), 0u);
  const runtime::StateCost used = soak.states_in_use();
  for (int64_t pages : used.pages) EXPECT_EQ(pages, 0);
  EXPECT_EQ(used.slots, 0);
  EXPECT_TRUE(soak.is_healthy());
}

}  // namespace
}  // namespace mlc::testing
