// The line of a progress bar.
#include "base/progress.h"

#include <gtest/gtest.h>

namespace mlc {
namespace {

TEST(Progress, TellsHowLongTheRestTakes) {
  auto end = [](int64_t done, double seconds) {
    const std::string line = Progress::line("converting", done, 1000, seconds);
    EXPECT_EQ(line.find("converting  ["), 0u) << line;
    const size_t at = line.find("/s");
    return at == std::string::npos ? "no speed" : line.substr(at + 2);
  };
  EXPECT_EQ(end(500, 1), "") << "too early to tell";
  EXPECT_EQ(end(500, 10), "  10 s left");
  EXPECT_EQ(end(100, 10), "  90 s left");
  EXPECT_EQ(end(10, 10), "  17 min left");  // 990 s
  EXPECT_EQ(end(0, 10), "");
  EXPECT_EQ(end(1000, 10), "");
}

}  // namespace
}  // namespace mlc
