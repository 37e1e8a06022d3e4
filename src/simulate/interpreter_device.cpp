// The interpreter device.
#include "simulate/interpreter_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "kernel/interpret.h"
#include "runtime/devices/registry.h"

namespace mlc {
namespace {

using runtime::Device;
using runtime::DeviceAddress;
using runtime::DeviceBuffer;
using runtime::KernelSet;
using runtime::Launch;

constexpr const char* kKind = "interpreter";
constexpr int64_t kMemoryBytes = int64_t{4}
                                 << 30;  // toys need some megabytes; a real model would take minutes a token

struct Memory {
  std::map<void*, int64_t> live;  // handle -> bytes

  // Bytes from the address to the end of its buffer; negative when there is no such place.
  int64_t left(DeviceAddress a) const {
    auto it = live.find(a.handle);
    return it == live.end() || a.offset < 0 ? -1 : it->second - a.offset;
  }
};

struct Kernels {
  std::vector<kernel::Program> programs;
};

Memory& of(void* self) { return *static_cast<Memory*>(self); }

uint8_t* pointer(DeviceAddress a) { return static_cast<uint8_t*>(a.handle) + a.offset; }

Result<DeviceBuffer> allocate(void* self, int64_t bytes) {
  if (bytes < 0) return Status::error("interpreter device: negative allocation");
  size_t size = static_cast<size_t>(std::max<int64_t>((bytes + 63) / 64 * 64, 64));
  void* memory = bytes > kMemoryBytes ? nullptr : std::aligned_alloc(64, size);
  if (!memory)
    return Status::error(str("interpreter device: cannot allocate ", human_bytes(static_cast<double>(bytes)),
                             " of ", human_bytes(static_cast<double>(kMemoryBytes))));
  std::memset(memory, 0, size);
  of(self).live[memory] = bytes;
  return DeviceBuffer{memory, bytes};
}

void release(void* self, DeviceBuffer buffer) {
  internal_check(of(self).live.erase(buffer.handle) == 1,
                 "interpreter device: release of memory that is not live");
  std::free(buffer.handle);
}

Status copy_in(void* self, DeviceAddress to, std::span<const std::byte> from) {
  if (of(self).left(to) < static_cast<int64_t>(from.size()))
    return Status::error(str("interpreter device: copy of ", from.size(), " bytes past the end of a buffer"));
  if (!from.empty()) std::memcpy(pointer(to), from.data(), from.size());
  return Status::ok();
}

Status begin_read(void* self, std::span<std::byte> to, DeviceAddress from) {
  if (of(self).left(from) < static_cast<int64_t>(to.size()))
    return Status::error(str("interpreter device: copy of ", to.size(), " bytes past the end of a buffer"));
  if (!to.empty()) std::memcpy(to.data(), pointer(from), to.size());
  return Status::ok();
}

std::string missing_requirement(void*, const Json& header) {
  std::string kind = find_string(header, "kind").value_or("?");
  return kind == kKind ? "" : "a device of kind " + kind;
}

Result<KernelSet> load_kernels(void*, const MlcLibraryVariant& variant) {
  auto* kernels = new Kernels;
  for (uint64_t i = 0; i < variant.kernel_count; ++i)
    kernels->programs.emplace_back(*static_cast<const kernel::Function*>(variant.kernels[i]));
  return static_cast<KernelSet>(kernels);
}

void unload_kernels(void*, KernelSet kernels) { delete static_cast<Kernels*>(kernels); }

Status run(const Memory& memory, const kernel::Program& program, const Launch& launch) {
  std::vector<kernel::HostBuffer> buffers;
  for (const DeviceAddress& a : launch.buffers) {
    const int64_t left = memory.left(a);
    if (left < a.bytes)
      return Status::error("interpreter device: launch with a buffer that is not live or too small");
    buffers.push_back({pointer(a), a.bytes > 0 ? a.bytes : left});
  }
  // In four pieces, the last first: grid iterations may run in any order, so a kernel that relies on one
  // shows.
  const int64_t piece = std::max<int64_t>(1, (launch.tiles + 3) / 4);
  for (int64_t end = launch.tiles; end > 0; end -= piece)
    program.run(buffers, launch.dims, std::max<int64_t>(0, end - piece), end);
  return Status::ok();
}

Status submit(void* self, KernelSet kernels, std::span<const Launch> launches) {
  const auto& programs = static_cast<Kernels*>(kernels)->programs;
  for (const Launch& launch : launches) {
    if (launch.kernel >= programs.size())
      return Status::error(str("interpreter device: kernel ", launch.kernel, " of ", programs.size()));
    RETURN_IF_ERROR(run(of(self), programs[launch.kernel], launch));
  }
  return Status::ok();
}

Result<bool> poll(void*) { return true; }
Status sync(void*) { return Status::ok(); }
void destroy(void* self) { delete static_cast<Memory*>(self); }

Result<runtime::DevicePtr> open(const runtime::DeviceOptions&) {
  return runtime::DevicePtr(new Device{.properties = {.name = kKind,
                                                      .description = "kernel IR, every access checked",
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

InterpretedLibrary::InterpretedLibrary(const Json& manifest, BuiltPlan built)
    : kernels_(std::move(built.kernels)),
      header_(json_text(Json({{"name", kKind}, {"kind", kKind}, {"requires", Json::array()}}))),
      plan_(encode_plan(built.plan)),
      manifest_(json_text(manifest)) {
  for (const kernel::Function& k : kernels_) table_.push_back(&k);
  variant_ = {.header = header_.data(),
              .header_bytes = header_.size(),
              .plan = plan_.data(),
              .plan_bytes = plan_.size(),
              .kernels = table_.data(),
              .kernel_count = table_.size()};
  std::memcpy(library_.magic, kLibraryMagic, sizeof kLibraryMagic);
  library_.abi_version = kLibraryAbiVersion;
  library_.variant_count = 1;
  library_.manifest = manifest_.data();
  library_.manifest_bytes = manifest_.size();
  library_.variants = &variant_;
}

void register_interpreter_device() {
  [[maybe_unused]] static const bool done = [] {
    runtime::register_device(kKind, open);
    return true;
  }();
}

}  // namespace mlc
