// The WebGPU device.
#include "webgpu.h"

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "runtime/devices/device_of.h"
#include "runtime/devices/gpu_launch.h"
#include "runtime/devices/gpu_requirements.h"

#define MLC_IMPORT(name) __attribute__((import_module("gpu"), import_name(name)))
extern "C" {
// What web/webgpu.mjs passes for a kernel, and takes of a launch as words: kernel, groups, then three words
// for each buffer (handle, offset, bytes), then the dims.
struct MlcGpuCode {
  const char* name;
  size_t name_bytes;
  const char* code;
  size_t code_bytes;
  uint32_t buffers, dims, written;
};
// JSON {"description", "lanes", "shared", "binding", "memory"}: its bytes in all, of which `room` are
// written; 0: there is no device.
MLC_IMPORT("describe") size_t mlc_gpu_describe(char* to, size_t room);
MLC_IMPORT("allocate") uint32_t mlc_gpu_allocate(double bytes);  // a handle; 0: no memory
MLC_IMPORT("free") void mlc_gpu_free(uint32_t handle);
MLC_IMPORT("write") void mlc_gpu_write(uint32_t handle, double offset, const void* from, size_t bytes);
MLC_IMPORT("load") uint32_t mlc_gpu_load(const MlcGpuCode* kernels, size_t count);  // a handle
MLC_IMPORT("unload") void mlc_gpu_unload(uint32_t kernels);
MLC_IMPORT("record") uint32_t mlc_gpu_record(uint32_t kernels, const uint32_t* words, size_t launches);
MLC_IMPORT("replay") void mlc_gpu_replay(uint32_t recording);
MLC_IMPORT("forget") void mlc_gpu_forget(uint32_t recording);
// Asks for bytes behind all that was replayed; poll writes them: 1 they have come, 0 not yet, -1 the device
// failed.
MLC_IMPORT("begin_read") void mlc_gpu_begin_read(uint32_t handle, double offset, size_t bytes);
MLC_IMPORT("poll") int mlc_gpu_poll(void* to, size_t bytes);
MLC_IMPORT("failure") size_t mlc_gpu_failure(char* to, size_t room);
}

namespace mlc::runtime {
namespace {

constexpr const char* kKind = "webgpu";

Status problem(const std::string& what) { return Status::error(str(kKind, " device: ", what)); }

std::string text_of(size_t (*of)(char*, size_t)) {
  std::string text(of(nullptr, 0), '\0');
  of(text.data(), text.size());
  return text;
}

uint32_t number(const void* handle) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(handle)); }
void* handle_of(uint32_t number) { return reinterpret_cast<void*>(static_cast<uintptr_t>(number)); }

struct Kernels {
  uint32_t handle = 0;
  std::vector<GpuKernelView> views;
};

class WebGpu {
 public:
  explicit WebGpu(Json found) : found_(std::move(found)) {}

  Result<DeviceBuffer> allocate(int64_t bytes) {
    const uint32_t handle = bytes < 0 ? 0 : mlc_gpu_allocate(static_cast<double>(bytes));
    if (handle == 0) return problem("cannot allocate " + human_bytes(static_cast<double>(bytes)));
    return DeviceBuffer{handle_of(handle), bytes};
  }
  void release(DeviceBuffer buffer) { mlc_gpu_free(number(buffer.handle)); }
  Status copy_in(DeviceAddress to, std::span<const std::byte> from) {
    if (!from.empty())
      mlc_gpu_write(number(to.handle), static_cast<double>(to.offset), from.data(), from.size());
    return Status::ok();
  }
  Status begin_read(std::span<std::byte> to, DeviceAddress from) {
    reading_ = to;
    if (!to.empty()) mlc_gpu_begin_read(number(from.handle), static_cast<double>(from.offset), to.size());
    return Status::ok();
  }
  Result<bool> poll() {
    if (reading_.empty()) return true;
    const int state = mlc_gpu_poll(reading_.data(), reading_.size());
    if (state != 0) reading_ = {};
    if (state < 0) return problem(text_of(mlc_gpu_failure));
    return state == 1;
  }
  // The queue keeps the order, and nothing here may wait.
  Status sync() { return Status::ok(); }

  std::string missing_requirement(const Json& header) {
    std::vector<std::string> features;
    if (find_bool(found_, "software").value_or(false)) features.push_back("software");
    if (const int64_t lanes = find_int(found_, "lanes").value_or(0))
      features.push_back(str("subgroups_", lanes));
    return missing_gpu_requirement({.kind = kKind,
                                    .features = std::move(features),
                                    .group_size = find_int(found_, "group").value_or(0),
                                    .shared_bytes = find_int(found_, "shared").value_or(0)},
                                   header);
  }
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    auto kernels = std::make_unique<Kernels>();
    std::vector<MlcGpuCode> list;
    for (uint64_t i = 0; i < variant.kernel_count; ++i) {
      ASSIGN_OR_RETURN(GpuKernelView v, read_gpu_kernel(variant.kernels[i], GpuLanguage::kWgsl));
      kernels->views.push_back(v);
      list.push_back({v.name.data(), v.name.size(), v.code.data(), v.code.size(), v.header.buffer_count,
                      v.header.dim_count, v.header.written});
    }
    kernels->handle = mlc_gpu_load(list.data(), list.size());
    if (kernels->handle == 0) return problem(text_of(mlc_gpu_failure));
    return static_cast<KernelSet>(kernels.release());
  }
  void unload_kernels(KernelSet set) {
    auto* kernels = static_cast<Kernels*>(set);
    mlc_gpu_unload(kernels->handle);
    delete kernels;
  }

  Result<Recording> record(KernelSet set, std::span<const Launch> launches) {
    const Kernels& kernels = *static_cast<Kernels*>(set);
    std::vector<uint32_t> words;
    for (const Launch& launch : launches) {
      if (launch.kernel >= kernels.views.size()) return problem(str("no kernel ", launch.kernel));
      RETURN_IF_ERROR(check_launch(kKind, kernels.views[launch.kernel], launch));
      words.push_back(launch.kernel);
      words.push_back(static_cast<uint32_t>(launch.tiles));
      for (const DeviceAddress& a : launch.buffers) {
        if (a.offset < 0 || a.offset > UINT32_MAX || a.bytes < 0 || a.bytes > UINT32_MAX)
          return problem("a buffer of 4 GiB or more");
        for (uint32_t word :
             {number(a.handle), static_cast<uint32_t>(a.offset), static_cast<uint32_t>(a.bytes)})
          words.push_back(word);
      }
      for (int64_t dim : launch.dims) words.push_back(static_cast<uint32_t>(dim));
    }
    const uint32_t recording = mlc_gpu_record(kernels.handle, words.data(), launches.size());
    if (recording == 0) return problem(text_of(mlc_gpu_failure));
    return handle_of(recording);
  }
  Status replay(Recording recording) {
    mlc_gpu_replay(number(recording));
    return Status::ok();
  }
  void release_recording(Recording recording) { mlc_gpu_forget(number(recording)); }
  Status submit(KernelSet kernels, std::span<const Launch> launches) {
    ASSIGN_OR_RETURN(Recording recording, record(kernels, launches));
    mlc_gpu_replay(number(recording));
    mlc_gpu_forget(number(recording));
    return Status::ok();
  }

 private:
  Json found_;
  std::span<std::byte> reading_;
};

}  // namespace

Result<DevicePtr> open_webgpu_device(const DeviceOptions&) {
  const std::string said = text_of(mlc_gpu_describe);
  if (said.empty()) return Status::error("--device webgpu: the host has no WebGPU device; use --device cpu");
  ASSIGN_OR_RETURN(Json found, parse_json(said, "the host's WebGPU device"));
  DeviceProperties properties{.name = kKind,
                              .description = find_string(found, "description").value_or("?"),
                              .memory_bytes = find_int(found, "memory").value_or(0),
                              .threads = 1,
                              .host_memory = false,
                              .max_binding_bytes = find_int(found, "binding").value_or(0)};
  return device_of(std::make_unique<WebGpu>(std::move(found)), std::move(properties));
}

}  // namespace mlc::runtime
