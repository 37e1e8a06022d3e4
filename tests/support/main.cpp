// Runs a GoogleTest program in which nothing is skipped: a test whose suite cannot be set up has failed.
// GoogleTest calls it skipped, and ctest then does not count it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace {

class NothingIsSkipped : public ::testing::EmptyTestEventListener {
  void OnTestSuiteStart(const ::testing::TestSuite& suite) override { suite_ = &suite; }
  void OnTestStart(const ::testing::TestInfo& test) override {
    if (suite_->ad_hoc_test_result().Failed()) give_up(test, "its suite could not be set up");
  }
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (test.result()->Skipped()) give_up(test, "it was skipped");
  }

  [[noreturn]] static void give_up(const ::testing::TestInfo& test, const char* why) {
    std::printf("[  FAILED  ] %s.%s: %s\n", test.test_suite_name(), test.name(), why);
    std::fflush(stdout);
    std::_Exit(1);
  }

  const ::testing::TestSuite* suite_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new NothingIsSkipped);
  return RUN_ALL_TESTS();
}
