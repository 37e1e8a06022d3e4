// Reads control groups' CPU quotas. Their files say that they are empty, so they are read as streams.
#include "base/cgroup.h"

#include <cstdio>
#include <vector>

#include "base/strings.h"

namespace mlc {
namespace {

// Up to two numbers of a small file; fewer where it is absent or says "max".
std::vector<double> numbers_of(const std::string& path) {
  std::vector<double> out(2);
  int found = 0;
  if (FILE* f = std::fopen(path.c_str(), "r")) {
    found = std::fscanf(f, "%lf %lf", &out[0], &out[1]);
    std::fclose(f);
  }
  out.resize(static_cast<size_t>(found > 0 ? found : 0));
  return out;
}

// 0 where the group has no quota.
double quota_v2(const std::string& folder) {
  std::vector<double> n = numbers_of(folder + "/cpu.max");
  return n.size() == 2 && n[0] > 0 && n[1] > 0 ? n[0] / n[1] : 0;
}

double quota_v1(const std::string& folder) {
  std::vector<double> quota = numbers_of(folder + "/cpu.cfs_quota_us"),
                      period = numbers_of(folder + "/cpu.cfs_period_us");
  return !quota.empty() && !period.empty() && quota[0] > 0 && period[0] > 0 ? quota[0] / period[0] : 0;
}

// The smallest quota of a group and its ancestors up to the mount. Inside a container the path may be the
// host's, which is not mounted here: then only the mount itself answers.
double smallest(const std::string& mount, std::string path, double (*quota)(const std::string&)) {
  double least = 0;
  for (;;) {
    double here = quota(mount + path);
    if (here > 0 && (least == 0 || here < least)) least = here;
    size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) return least;
    path.resize(slash);
  }
}

}  // namespace

double cgroup_cores(const std::string& root, std::string_view membership) {
  double least = 0;
  auto consider = [&](double cores) {
    if (cores > 0 && (least == 0 || cores < least)) least = cores;
  };
  for (const std::string& line : split(membership, '\n')) {  // "hierarchy:controllers:path"
    size_t first = line.find(':'), second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (path.find("..") != std::string::npos) path.clear();  // outside of this process's view
    if (controllers.empty()) {
      for (const char* mount : {"", "/unified"}) consider(smallest(root + mount, path, quota_v2));
    } else {
      for (const std::string& c : split(controllers, ','))
        if (c == "cpu")
          for (const std::string& mount : {"/" + controllers, std::string("/cpu")})
            consider(smallest(root + mount, path, quota_v1));
    }
  }
  return least;
}

}  // namespace mlc
