// macOS and iOS: memory, cores and what the system says of the processor.
#include <sys/mman.h>
#include <sys/sysctl.h>

#include <algorithm>
#include <string_view>

#include "base/platform/platform.h"

namespace mlc::platform {
namespace {

// A number by its sysctl name, 0 where the system has none.
int64_t system_number(const char* name) {
  int64_t value = 0;
  size_t bytes = sizeof value;
  return ::sysctlbyname(name, &value, &bytes, nullptr, 0) == 0 ? value : 0;
}

}  // namespace

void* allocate_pages(size_t size) {
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

int64_t physical_memory() { return system_number("hw.memsize"); }
int usable_cores() { return std::max(1, static_cast<int>(system_number("hw.activecpu"))); }

bool grants_cpu_feature(const char* feature) {
  if (std::string_view(feature) == "dotprod") return system_number("hw.optional.arm.FEAT_DotProd") != 0;
  return std::string_view(feature) == "i8mm" && system_number("hw.optional.arm.FEAT_I8MM") != 0;
}

std::string_view library_container() { return "Mach-O"; }

bool may_have_gpu() { return true; }

}  // namespace mlc::platform
