// Tests of the control groups' quotas on folders made like the kernel's.
#include "base/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/temp_folder.h"

namespace mlc {
namespace {

class Cgroup : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_.file(path)).parent_path());
    root_.write(path, text);
  }
  double cores(const std::string& membership) { return cgroup_cores(root_.path(), membership); }

  testing::TempFolder root_;
};

TEST_F(Cgroup, NoGroupsMeanNoQuota) {
  EXPECT_EQ(cores(""), 0);
  EXPECT_EQ(cores("0::/\n"), 0);
  EXPECT_EQ(cores("nonsense"), 0);
}

TEST_F(Cgroup, Version2TakesTheSmallestOfTheAncestors) {
  write("cpu.max", "max 100000\n");
  write("a/cpu.max", "150000 100000\n");
  write("a/b/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(cores("0::/a/b\n"), 1.5);
  EXPECT_DOUBLE_EQ(cores("0::/\n"), 0);
}

TEST_F(Cgroup, AContainersOwnMountAnswersForAPathOfTheHost) {
  write("cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(cores("0::/docker/0123abcd\n"), 0.5);
  EXPECT_DOUBLE_EQ(cores("0::/../../other\n"), 0.5);
}

TEST_F(Cgroup, Version1) {
  write("cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  write("cpu/cpu.cfs_quota_us", "-1\n");
  write("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cores("4:cpu,cpuacct:/job\n3:memory:/job\n0::/\n"), 3);
  EXPECT_DOUBLE_EQ(cores("1:cpu:/\n"), 0);
  EXPECT_DOUBLE_EQ(cores("1:cpuset:/job\n"), 0);
}

TEST_F(Cgroup, BothVersionsGiveTheSmaller) {
  write("unified/x/cpu.max", "200000 100000\n");
  write("cpu/x/cpu.cfs_quota_us", "100000\n");
  write("cpu/x/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cores("1:cpu:/x\n0::/x\n"), 1);
}

}  // namespace
}  // namespace mlc
