// The simulated Metal device.
#include "simulate/metal_device.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "runtime/devices/gpu_requirements.h"
#include "runtime/devices/registry.h"

namespace mlc {
namespace {

using runtime::Device;
using runtime::DeviceAddress;
using runtime::DeviceBuffer;
using runtime::KernelSet;
using runtime::Launch;

constexpr const char* kKind = "metal";
constexpr int64_t kMemoryBytes = int64_t{4} << 30;
constexpr size_t kGuard = 64;  // bytes behind each buffer that no kernel may change
constexpr int kGuardByte = 0xA5;

std::string sources_folder;

struct Memory {
  std::map<void*, int64_t> live;  // handle -> bytes
  int64_t left(DeviceAddress a) const {
    auto it = live.find(a.handle);
    return it == live.end() || a.offset < 0 ? -1 : it->second - a.offset;
  }
};

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

Memory& of(void* self) { return *static_cast<Memory*>(self); }
uint8_t* pointer(DeviceAddress a) { return static_cast<uint8_t*>(a.handle) + a.offset; }
Status problem(const std::string& what) { return Status::error("simulated Metal: " + what); }

Result<DeviceBuffer> allocate(void* self, int64_t bytes) {
  if (bytes < 0 || bytes > kMemoryBytes) return problem(str("cannot allocate ", bytes, " bytes"));
  const size_t size = (static_cast<size_t>(bytes) + kGuard + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, size);
  if (!memory) return problem(str("cannot allocate ", bytes, " bytes"));
  std::memset(memory, 0, static_cast<size_t>(bytes));
  std::memset(static_cast<uint8_t*>(memory) + bytes, kGuardByte, kGuard);
  of(self).live[memory] = bytes;
  return DeviceBuffer{memory, bytes};
}

void release(void* self, DeviceBuffer buffer) {
  internal_check(of(self).live.erase(buffer.handle) == 1, "simulated Metal: memory that is not live");
  std::free(buffer.handle);
}

Status copy_in(void* self, DeviceAddress to, std::span<const std::byte> from) {
  if (of(self).left(to) < static_cast<int64_t>(from.size()))
    return problem("a copy past the end of a buffer");
  if (!from.empty()) std::memcpy(pointer(to), from.data(), from.size());
  return Status::ok();
}

Status begin_read(void* self, std::span<std::byte> to, DeviceAddress from) {
  if (of(self).left(from) < static_cast<int64_t>(to.size()))
    return problem("a read past the end of a buffer");
  if (!to.empty()) std::memcpy(to.data(), pointer(from), to.size());
  return Status::ok();
}

std::string missing_requirement(void*, const Json& header) {
  return runtime::missing_gpu_requirement({.kind = kKind,
                                           .features = {"subgroups_32", "vendor_apple", "matrix_f16_8x8x8"},
                                           .group_size = 1024,
                                           .shared_bytes = 32 << 10},
                                          header);
}

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

Result<KernelSet> load_kernels(void*, const MlcLibraryVariant& variant) {
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

void unload_kernels(void*, KernelSet set) {
  auto* kernels = static_cast<Kernels*>(set);
  dlclose(kernels->object);
  delete kernels;
}

Status run(const Memory& memory, const Kernels::Kernel& kernel, const Launch& launch) {
  if (launch.buffers.size() != kernel.header.buffer_count || launch.dims.size() != kernel.header.dim_count)
    return problem(kernel.name + ": another number of buffers or dims than the kernel has");
  std::vector<void*> buffers;
  for (const DeviceAddress& a : launch.buffers) {
    if (memory.left(a) < a.bytes) return problem(kernel.name + ": a buffer that is not live or too small");
    buffers.push_back(pointer(a));
  }
  std::vector<int> dims;
  for (int64_t d : launch.dims) dims.push_back(static_cast<int>(d));
  if (launch.tiles > 0 &&
      !kernel.run(buffers.data(), dims.data(), static_cast<unsigned>(launch.tiles), kernel.header.group_size))
    return problem(kernel.name + ": threads part at a barrier");
  for (const DeviceAddress& a : launch.buffers) {
    const uint8_t* guard = static_cast<const uint8_t*>(a.handle) + memory.live.at(a.handle);
    if (std::any_of(guard, guard + kGuard, [](uint8_t b) { return b != kGuardByte; }))
      return problem(kernel.name + ": a store past the end of a buffer");
  }
  return Status::ok();
}

Status submit(void* self, KernelSet set, std::span<const Launch> launches) {
  const auto& all = static_cast<Kernels*>(set)->all;
  for (const Launch& launch : launches) {
    if (launch.kernel >= all.size()) return problem(str("kernel ", launch.kernel, " of ", all.size()));
    RETURN_IF_ERROR(run(of(self), all[launch.kernel], launch));
  }
  return Status::ok();
}

Result<bool> poll(void*) { return true; }
Status sync(void*) { return Status::ok(); }
void destroy(void* self) { delete static_cast<Memory*>(self); }

Result<runtime::DevicePtr> open(const runtime::DeviceOptions&) {
  return runtime::DevicePtr(new Device{.properties = {.name = kKind,
                                                      .description = "MSL compiled by clang for this CPU",
                                                      .memory_bytes = kMemoryBytes,
                                                      .threads = 1,
                                                      .host_memory = false},
                                       .self = new Memory,
                                       .allocate = allocate,
                                       .release = release,
                                       .copy_in = copy_in,
                                       .begin_read = begin_read,
                                       .poll = poll,
                                       .missing_requirement = missing_requirement,
                                       .load_kernels = load_kernels,
                                       .unload_kernels = unload_kernels,
                                       .submit = submit,
                                       .sync = sync,
                                       .destroy = destroy});
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
