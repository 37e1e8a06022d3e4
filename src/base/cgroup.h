// CPU quotas of control groups (Linux): how much processor time per second this process may use.
#pragma once

#include <string>
#include <string_view>

namespace mlc {

// The smallest CPU quota, in cores, of the control groups that `membership` (the text of /proc/self/cgroup)
// names and of their ancestors, as mounted under `root` (/sys/fs/cgroup): cpu.max (version 2, also under
// root/unified) and cpu.cfs_quota_us over cpu.cfs_period_us (version 1, under root/cpu or root/cpu,cpuacct).
// 0 when there is none.
double cgroup_cores(const std::string& root, std::string_view membership);

}  // namespace mlc
