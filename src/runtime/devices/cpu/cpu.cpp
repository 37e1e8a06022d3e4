// The CPU device.
#include "runtime/devices/cpu/cpu.h"

#include <algorithm>
#include <cstring>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "base/threads.h"
#include "runtime/devices/cpu/pool.h"
#include "runtime/devices/device_of.h"

namespace mlc::runtime {
namespace {

// The bytes of a buffer's pages.
size_t page_bytes(int64_t bytes) {
  return static_cast<size_t>(std::max<int64_t>((bytes + 4095) / 4096 * 4096, 4096));
}

struct CpuKernels {
  std::vector<CpuKernel> functions;
};

class CpuDevice {
 public:
  explicit CpuDevice(int threads) : pool_(threads) {}

  Result<DeviceBuffer> allocate(int64_t bytes) {
    if (bytes < 0) return Status::error("cpu device: negative allocation");
    // Overcommit would let an absurd size through and kill the process later: what is not there now is
    // refused now.
    int64_t physical = platform::physical_memory();
    void* memory = bytes > physical ? nullptr : platform::allocate_pages(page_bytes(bytes));
    if (!memory)
      return Status::error(str("cpu device: cannot allocate ", human_bytes(static_cast<double>(bytes)),
                               " of ", human_bytes(static_cast<double>(physical)), " physical memory"));
    return DeviceBuffer{memory, bytes};
  }
  void release(DeviceBuffer buffer) { platform::release_pages(buffer.handle, page_bytes(buffer.bytes)); }
  Status copy_in(DeviceAddress to, std::span<const std::byte> from) {
    if (!from.empty()) std::memcpy(static_cast<char*>(to.handle) + to.offset, from.data(), from.size());
    return Status::ok();
  }
  // Launches have run when submit() returns.
  Status begin_read(std::span<std::byte> to, DeviceAddress from) {
    if (!to.empty()) std::memcpy(to.data(), static_cast<const char*>(from.handle) + from.offset, to.size());
    return Status::ok();
  }
  Result<bool> poll() { return true; }
  Status sync() { return Status::ok(); }

  std::string missing_requirement(const Json& header) {
    if (find_string(header, "kind") != "cpu")
      return "a device of kind " + find_string(header, "kind").value_or("?");
    if (auto arch = find_string(header, "architecture"); arch && *arch != host_architecture())
      return "a CPU of kind " + *arch;
    std::vector<std::string> required;
    if (const Json* list = find(header, "requires"); list && list->is_array())
      for (const Json& feature : *list)
        if (feature.is_string()) required.push_back(feature.get<std::string>());
    std::string missing = missing_cpu_feature(required);
    return missing.empty() ? "" : "CPU feature " + missing;
  }
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    auto* kernels = new CpuKernels;
    for (uint64_t i = 0; i < variant.kernel_count; ++i)
      kernels->functions.push_back(reinterpret_cast<CpuKernel>(const_cast<void*>(variant.kernels[i])));
    return static_cast<KernelSet>(kernels);
  }
  void unload_kernels(KernelSet kernels) { delete static_cast<CpuKernels*>(kernels); }
  Status submit(KernelSet kernels, std::span<const Launch> launches) {
    pool_.run(static_cast<CpuKernels*>(kernels)->functions, launches);
    return Status::ok();
  }

 private:
  LaunchPool pool_;
};

}  // namespace

Result<DevicePtr> open_cpu_device(const DeviceOptions& options) {
  int cores = usable_threads(), threads = options.threads == 0 ? cores : options.threads;
  const int most = std::min(512, platform::most_threads());
  if (threads < 1 || threads > most)
    return Status::error(str("--threads: ", options.threads, " is not in 1..", most, "; this machine has ",
                             cores, " usable cores"));
  return device_of(std::make_unique<CpuDevice>(threads),
                   {.name = "cpu",
                    .description = str(threads, " of ", cores, " cores, ", host_architecture(), " ",
                                       join(host_cpu_features(), " ")),
                    .memory_bytes = platform::physical_memory(),
                    .threads = threads,
                    .host_memory = true});
}

}  // namespace mlc::runtime
