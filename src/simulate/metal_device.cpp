// The simulated Metal device.
#include "simulate/metal_device.h"

#include <dlfcn.h>

#include <cstdlib>

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "runtime/devices/device_of.h"
#include "runtime/devices/gpu_requirements.h"
#include "simulate/host_memory.h"

namespace mlc {
namespace {

using runtime::DeviceAddress;
using runtime::KernelSet;
using runtime::Launch;

constexpr const char* kKind = "metal";

std::string sources_folder;

// bool run(void** buffers, const int* dims, unsigned groups, unsigned threads): false where threads part.
using Run = bool (*)(void**, const int*, unsigned, unsigned);

struct Kernels {
  void* object = nullptr;
  struct Kernel {
    std::string name;
    Run run = nullptr;
    MlcGpuKernel header{};
  };
  std::vector<Kernel> all;
};

Status problem(const std::string& what) { return Status::error("simulated Metal: " + what); }

// A group's arrays become those of the host's thread, whose fibers are the group's threads.
std::string with_shared_arrays(std::string text) {
  const std::string from = "\n  threadgroup ", to = "\n  static thread_local ";
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string entry_point(const MlcGpuKernel& header, const std::string& name) {
  std::string buffers;
  for (uint32_t i = 0; i < header.buffer_count; ++i) buffers += str("mlc_metal::Any{b[", i, "]}, ");
  return str("extern \"C\" __attribute__((visibility(\"default\"))) bool run_", name,
             "(void** buffers, const int* dims, uint groups, uint threads) {\n"
             "  return mlc_metal::run_groups([](void** b, const int* d, metal::uint3 g, uint t) { ",
             name, "(", buffers, "d, g, t); }, buffers, dims, groups, threads);\n}\n");
}

Status compile(const std::string& text, const TempFolder& folder) {
  RETURN_IF_ERROR(write_file(folder.file("k.cpp"), text));
  const std::string command =
      str("clang++-19 -std=c++20 -O1 -ffp-contract=off -fno-exceptions -shared -fPIC -march=native -Werror ",
          "-Wno-unknown-attributes -Wno-unknown-pragmas -Wno-ignored-attributes -I", sources_folder, " ",
          folder.file("k.cpp"), " -o ", folder.file("k.so"), " 2> ", folder.file("log"));
  if (std::system(command.c_str()) == 0) return Status::ok();
  Result<std::string> log = read_file(folder.file("log"));
  return problem("clang does not accept a kernel: " + (log.is_ok() ? log->substr(0, 2000) : "no log"));
}

class MetalDevice : public HostMemory {
 public:
  MetalDevice() : HostMemory("simulated Metal") {}

  std::string missing_requirement(const Json& header) {
    return runtime::missing_gpu_requirement({.kind = kKind,
                                             .features = {"subgroups_32", "vendor_apple", "matrix_f16_8x8x8"},
                                             .group_size = 1024,
                                             .shared_bytes = 32 << 10},
                                            header);
  }
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    auto kernels = std::make_unique<Kernels>();
    std::string text, entries;
    for (uint64_t i = 0; i < variant.kernel_count; ++i) {
      ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], GpuLanguage::kMetal));
      kernels->all.push_back({std::string(view.name), nullptr, view.header});
      text += with_shared_arrays(std::string(view.code)) + "\n";
      entries += entry_point(view.header, kernels->all.back().name);
    }
    ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::create());
    RETURN_IF_ERROR(compile(text + "#include \"run_groups.h\"\n" + entries, folder));
    kernels->object = dlopen(folder.file("k.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!kernels->object) return problem(dlerror());
    for (Kernels::Kernel& k : kernels->all)
      k.run = reinterpret_cast<Run>(dlsym(kernels->object, ("run_" + k.name).c_str()));
    return static_cast<KernelSet>(kernels.release());
  }
  void unload_kernels(KernelSet set) {
    auto* kernels = static_cast<Kernels*>(set);
    dlclose(kernels->object);
    delete kernels;
  }
  Status submit(KernelSet set, std::span<const Launch> launches) {
    const auto& all = static_cast<Kernels*>(set)->all;
    for (const Launch& launch : launches) {
      if (launch.kernel >= all.size()) return problem(str("kernel ", launch.kernel, " of ", all.size()));
      RETURN_IF_ERROR(run(all[launch.kernel], launch));
    }
    return Status::ok();
  }

 private:
  Status run(const Kernels::Kernel& kernel, const Launch& launch) {
    if (launch.buffers.size() != kernel.header.buffer_count || launch.dims.size() != kernel.header.dim_count)
      return problem(kernel.name + ": another number of buffers or dims than the kernel has");
    std::vector<void*> buffers;
    for (const DeviceAddress& a : launch.buffers) {
      if (left(a) < a.bytes) return problem(kernel.name + ": a buffer that is not live or too small");
      buffers.push_back(pointer(a));
    }
    std::vector<int> dims;
    for (int64_t d : launch.dims) dims.push_back(static_cast<int>(d));
    if (launch.tiles > 0 && !kernel.run(buffers.data(), dims.data(), static_cast<unsigned>(launch.tiles),
                                        kernel.header.group_size))
      return problem(kernel.name + ": threads part at a barrier");
    for (const DeviceAddress& a : launch.buffers)
      if (!guard_is_whole(a)) return problem(kernel.name + ": a store past the end of a buffer");
    return Status::ok();
  }
};

Result<runtime::DevicePtr> open(const runtime::DeviceOptions&) {
  return runtime::device_of(std::make_unique<MetalDevice>(),
                            {.name = kKind,
                             .description = "MSL compiled by clang for this CPU",
                             .memory_bytes = HostMemory::kBytes});
}

}  // namespace

void register_metal_simulator(const std::string& sources) {
  [[maybe_unused]] static const bool done = [&] {
    sources_folder = sources;
    runtime::register_device(kKind, open);
    return true;
  }();
}

}  // namespace mlc
