// Linux and Android: memory, cores by affinity and control groups, what the kernel grants of the processor.
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "base/cgroup.h"
#include "base/platform/platform.h"

namespace mlc::platform {
namespace {

// The CPU quota of this process's control groups in cores, 0 when there is none.
double cgroup_quota() {
  std::string membership;
  if (FILE* f = std::fopen("/proc/self/cgroup", "r")) {
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) membership.append(buffer, n);
    std::fclose(f);
  }
  return cgroup_cores("/sys/fs/cgroup", membership);
}

}  // namespace

void* allocate_pages(size_t size) {
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  constexpr size_t kHugePage = size_t{2} << 20;
  if (size >= kHugePage) ::madvise(pages, size, MADV_HUGEPAGE);
  return pages;
}

int64_t physical_memory() { return int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

int usable_cores() {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof(cores), &cores) != 0)
    return std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
  static const double quota = cgroup_quota();
  return quota > 0 ? std::clamp(static_cast<int>(std::ceil(quota)), 1, CPU_COUNT(&cores)) : CPU_COUNT(&cores);
}

bool grants_cpu_feature([[maybe_unused]] const char* feature) {
#if defined(__x86_64__)
  // A process must ask for tile registers (asm/prctl.h: ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA).
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return std::string_view(feature) == "amx_bf16" &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#elif defined(__aarch64__)
  constexpr unsigned long kHwcapDotprod = 1ul << 20, kHwcap2I8mm = 1ul << 13;  // asm/hwcap.h: ASIMDDP, I8MM
  if (std::string_view(feature) == "dotprod") return ::getauxval(AT_HWCAP) & kHwcapDotprod;
  return std::string_view(feature) == "i8mm" && ::getauxval(AT_HWCAP2) & kHwcap2I8mm;
#else
  return false;
#endif
}

std::string_view library_container() { return "ELF"; }

bool may_have_gpu() {
  for (const char* node : {"/dev/dri", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/kgsl-3d0",
                           "/dev/mali0", "/dev/nvhost-gpu"})
    if (::access(node, F_OK) == 0) return true;
  return false;
}

}  // namespace mlc::platform
