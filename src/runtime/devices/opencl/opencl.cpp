// The OpenCL device.
#include "runtime/devices/opencl/opencl.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "runtime/devices/gpu_launch.h"
#include "runtime/devices/gpu_requirements.h"
#include "runtime/devices/opencl/program.h"

namespace mlc::runtime {
namespace {

using opencl::Api;
using opencl::error_name;
using opencl::Found;
using opencl::Program;

constexpr int64_t kAlignment = 64;
constexpr size_t kStagingBytes = size_t{1} << 20;  // small uploads between two waits
constexpr size_t kLargestStaged = size_t{64} << 10;

struct ClDevice {
  const Api* api = nullptr;
  Found found;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;
  void (*notice)(const std::string& sentence) = nullptr;
  OpenClCounters counters;
  std::vector<std::byte> staging = std::vector<std::byte>(kStagingBytes);
  size_t staged = 0;  // bytes of `staging` that commands not yet run may read
  cl_event reading = nullptr;

  ~ClDevice() {
    if (reading) api->clReleaseEvent(reading);
    if (queue) api->clReleaseCommandQueue(queue);
    if (context) api->clReleaseContext(context);
  }
};

// A kernel object and the arguments that the driver holds for it.
struct Slot {
  cl_kernel kernel = nullptr;
  std::vector<cl_mem> buffers;
  std::vector<cl_int> dims;
  std::vector<cl_long> offsets;
};

struct ClKernels {
  Program program;
  std::vector<Slot> slots;  // one a kernel, for submit(); made when it is first launched
};

// Launches with kernel objects of their own, so that their arguments stay.
struct ClRecording {
  struct Entry {
    Slot slot;
    const GpuKernelView* kernel = nullptr;
    int64_t tiles = 0;
  };
  std::vector<Entry> entries;
};

ClDevice& of(void* self) { return *static_cast<ClDevice*>(self); }

std::string memory_text(int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

bool is_out_of_memory(cl_int code) {
  return code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES ||
         code == CL_OUT_OF_HOST_MEMORY;
}

Status failed(const ClDevice& d, const std::string& what, cl_int code) {
  std::string text = str("opencl device: ", what, " failed on ", d.found.name, ": ", error_name(code));
  if (is_out_of_memory(code))
    text +=
        str(" (it has ", memory_text(d.found.memory_bytes), "); lower context_window_size in --overrides");
  return Status::error(text);
}

// The first wait for a new buffer is where many drivers take its memory.
Result<DeviceBuffer> allocate(void* self, int64_t bytes) {
  ClDevice& d = of(self);
  if (bytes < 0) return Status::error("opencl device: negative allocation");
  if (bytes > d.found.max_buffer_bytes)
    return Status::error(str("opencl device: cannot allocate ", memory_text(bytes), " in one buffer, ",
                             d.found.name, " allows ", memory_text(d.found.max_buffer_bytes), " of its ",
                             memory_text(d.found.memory_bytes)));
  size_t size = static_cast<size_t>(std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment));
  cl_int code = CL_SUCCESS;
  cl_mem memory = d.api->clCreateBuffer(d.context, CL_MEM_READ_WRITE, size, nullptr, &code);
  const cl_uint zero = 0;
  if (memory)
    code = d.api->clEnqueueFillBuffer(d.queue, memory, &zero, sizeof zero, 0, size, 0, nullptr, nullptr);
  if (memory && code == CL_SUCCESS) code = d.api->clFinish(d.queue);
  d.staged = 0;
  if (code != CL_SUCCESS) {
    if (memory) d.api->clReleaseMemObject(memory);
    return Status::error(str("opencl device: cannot allocate ", memory_text(bytes), " on ", d.found.name,
                             " (", memory_text(d.found.memory_bytes), " in all): ", error_name(code)));
  }
  d.counters.allocations++;
  return DeviceBuffer{memory, bytes};
}

void release(void* self, DeviceBuffer buffer) {
  of(self).api->clReleaseMemObject(static_cast<cl_mem>(buffer.handle));
}

// Small uploads are copied aside and not waited for.
Status copy_in(void* self, DeviceAddress to, std::span<const std::byte> from) {
  ClDevice& d = of(self);
  if (from.empty()) return Status::ok();
  const void* source = from.data();
  bool staged = from.size() <= std::min(kLargestStaged, kStagingBytes - d.staged);
  if (staged) {
    source = std::memcpy(d.staging.data() + d.staged, from.data(), from.size());
    d.staged += from.size();
  }
  d.counters.copies++;
  cl_int code =
      d.api->clEnqueueWriteBuffer(d.queue, static_cast<cl_mem>(to.handle), staged ? CL_FALSE : CL_TRUE,
                                  static_cast<size_t>(to.offset), from.size(), source, 0, nullptr, nullptr);
  if (!staged) d.staged = 0;  // the queue is in order: what came before has run
  return code == CL_SUCCESS
             ? Status::ok()
             : failed(d, str("an upload of ", memory_text(static_cast<int64_t>(from.size()))), code);
}

void forget_reading(ClDevice& d) {
  if (d.reading) d.api->clReleaseEvent(d.reading);
  d.reading = nullptr;
}

Status begin_read(void* self, std::span<std::byte> to, DeviceAddress from) {
  ClDevice& d = of(self);
  forget_reading(d);  // of a step that failed
  cl_int code = CL_SUCCESS;
  if (to.empty()) {
    code = d.api->clEnqueueMarkerWithWaitList(d.queue, 0, nullptr, &d.reading);
  } else {
    d.counters.copies++;
    d.counters.readbacks++;
    d.counters.bytes_read += static_cast<int64_t>(to.size());
    code = d.api->clEnqueueReadBuffer(d.queue, static_cast<cl_mem>(from.handle), CL_FALSE,
                                      static_cast<size_t>(from.offset), to.size(), to.data(), 0, nullptr,
                                      &d.reading);
  }
  if (code == CL_SUCCESS) code = d.api->clFlush(d.queue);
  return code == CL_SUCCESS
             ? Status::ok()
             : failed(d, str("a readback of ", memory_text(static_cast<int64_t>(to.size()))), code);
}

Result<bool> poll(void* self) {
  ClDevice& d = of(self);
  if (!d.reading) return true;
  cl_int state = CL_QUEUED;
  cl_int code =
      d.api->clGetEventInfo(d.reading, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, nullptr);
  if (code == CL_SUCCESS && state > CL_COMPLETE) return false;
  forget_reading(d);
  if (code == CL_SUCCESS) code = state;
  if (code == CL_SUCCESS) code = d.api->clFinish(d.queue);  // the queue is in order: nothing is left to run
  d.staged = 0;
  return code == CL_SUCCESS ? Result<bool>(true) : Result<bool>(failed(d, "a step", code));
}

std::string missing_requirement(void* self, const Json& header) {
  const Found& f = of(self).found;
  return missing_gpu_requirement({.kind = "opencl",
                                  .features = {f.features.begin(), f.features.end()},
                                  .group_size = f.group_size,
                                  .shared_bytes = f.shared_bytes},
                                 header);
}

void unload_kernels(void* self, KernelSet kernels) {
  ClDevice& d = of(self);
  auto* set = static_cast<ClKernels*>(kernels);
  d.api->clFinish(d.queue);
  for (Slot& slot : set->slots)
    if (slot.kernel) d.api->clReleaseKernel(slot.kernel);
  if (set->program.program) d.api->clReleaseProgram(set->program.program);
  delete set;
}

Result<KernelSet> load_kernels(void* self, const MlcLibraryVariant& variant) {
  ClDevice& d = of(self);
  ASSIGN_OR_RETURN(Program program, opencl::build_program(*d.api, d.context, d.found, variant, d.notice));
  d.counters.programs++;
  d.counters.programs_from_cache += program.from_cache;
  auto* set = new ClKernels{.program = std::move(program), .slots = {}};
  set->slots.resize(set->program.kernels.size());
  return static_cast<KernelSet>(set);
}

Status make_kernel(ClDevice& d, const ClKernels& set, const GpuKernelView& kernel, Slot& slot) {
  cl_int code = CL_SUCCESS;
  slot.kernel = d.api->clCreateKernel(set.program.program, std::string(kernel.name).c_str(), &code);
  d.counters.kernels++;
  return slot.kernel ? Status::ok() : failed(d, str("making kernel ", kernel.name), code);
}

// That the launch is one of the set's kernels with the arguments it takes.
Result<const GpuKernelView*> check(const ClKernels& set, const Launch& l) {
  if (l.kernel >= set.program.kernels.size())
    return Status::error(str("opencl device: no kernel ", l.kernel));
  const GpuKernelView& kernel = set.program.kernels[l.kernel];
  RETURN_IF_ERROR(check_launch("opencl", kernel, l));
  return &kernel;
}

// Sets argument `index` unless the driver has that value.
template <typename T>
cl_int set_argument(ClDevice& d, Slot& slot, cl_uint index, std::vector<T>& held, size_t i, T value) {
  if (i < held.size() && held[i] == value) return CL_SUCCESS;
  if (i >= held.size()) held.resize(i + 1);
  held[i] = value;
  d.counters.arguments_set++;
  return d.api->clSetKernelArg(slot.kernel, index, sizeof value, &value);
}

// In the order of formats/library.h: buffers, dims, offsets.
cl_int set_arguments(ClDevice& d, Slot& slot, const Launch& l) {
  auto buffers = static_cast<cl_uint>(l.buffers.size()), dims = static_cast<cl_uint>(l.dims.size());
  cl_int code = CL_SUCCESS;
  for (cl_uint i = 0; i < buffers && code == CL_SUCCESS; ++i)
    code = set_argument(d, slot, i, slot.buffers, i, static_cast<cl_mem>(l.buffers[i].handle));
  for (cl_uint i = 0; i < dims && code == CL_SUCCESS; ++i)
    code = set_argument(d, slot, buffers + i, slot.dims, i, static_cast<cl_int>(l.dims[i]));
  for (cl_uint i = 0; i < buffers && code == CL_SUCCESS; ++i)
    code =
        set_argument(d, slot, buffers + dims + i, slot.offsets, i, static_cast<cl_long>(l.buffers[i].offset));
  return code;
}

Status enqueue(ClDevice& d, const GpuKernelView& kernel, const Slot& slot, int64_t tiles) {
  if (tiles == 0) return Status::ok();
  const size_t local = kernel.header.group_size, global = static_cast<size_t>(tiles) * local;
  cl_int code =
      d.api->clEnqueueNDRangeKernel(d.queue, slot.kernel, 1, nullptr, &global, &local, 0, nullptr, nullptr);
  d.counters.launches++;
  return code == CL_SUCCESS ? Status::ok() : failed(d, str("kernel ", kernel.name), code);
}

Status flush(ClDevice& d) {
  cl_int code = d.api->clFlush(d.queue);
  return code == CL_SUCCESS ? Status::ok() : failed(d, "a submission", code);
}

Status submit(void* self, KernelSet kernels, std::span<const Launch> launches) {
  ClDevice& d = of(self);
  auto& set = *static_cast<ClKernels*>(kernels);
  for (const Launch& l : launches) {
    ASSIGN_OR_RETURN(const GpuKernelView* kernel, check(set, l));
    Slot& slot = set.slots[l.kernel];
    if (!slot.kernel) RETURN_IF_ERROR(make_kernel(d, set, *kernel, slot));
    if (cl_int code = set_arguments(d, slot, l); code != CL_SUCCESS)
      return failed(d, str("an argument of kernel ", kernel->name), code);
    RETURN_IF_ERROR(enqueue(d, *kernel, slot, l.tiles));
  }
  return flush(d);
}

void release_recording(void* self, Recording recording) {
  ClDevice& d = of(self);
  auto* held = static_cast<ClRecording*>(recording);
  d.api->clFinish(d.queue);
  for (auto& entry : held->entries)
    if (entry.slot.kernel) d.api->clReleaseKernel(entry.slot.kernel);
  delete held;
}

Result<Recording> record(void* self, KernelSet kernels, std::span<const Launch> launches) {
  ClDevice& d = of(self);
  const auto& set = *static_cast<ClKernels*>(kernels);
  auto* recording = new ClRecording;
  d.counters.recordings++;
  Status status;
  for (const Launch& l : launches) {
    auto kernel = check(set, l);
    status = kernel.status();
    if (!status.is_ok()) break;
    ClRecording::Entry& entry = recording->entries.emplace_back();
    entry.kernel = *kernel;
    entry.tiles = l.tiles;
    status = make_kernel(d, set, **kernel, entry.slot);
    if (!status.is_ok()) break;
    if (cl_int code = set_arguments(d, entry.slot, l); code != CL_SUCCESS)
      status = failed(d, str("an argument of kernel ", (*kernel)->name), code);
    if (!status.is_ok()) break;
  }
  if (status.is_ok()) return static_cast<Recording>(recording);
  release_recording(self, recording);
  return status;
}

Status replay(void* self, Recording recording) {
  ClDevice& d = of(self);
  for (const auto& entry : static_cast<ClRecording*>(recording)->entries)
    RETURN_IF_ERROR(enqueue(d, *entry.kernel, entry.slot, entry.tiles));
  return flush(d);
}

Status sync(void* self) {
  ClDevice& d = of(self);
  d.counters.waits++;
  cl_int code = d.api->clFinish(d.queue);
  d.staged = 0;
  return code == CL_SUCCESS ? Status::ok() : failed(d, "a step", code);
}

void destroy(void* self) { delete static_cast<ClDevice*>(self); }

Device functions_of(const Found& f) {
  return {.properties = {.name = "opencl",
                         .description = str(f.name, ", driver ", f.driver, ", ", f.version),
                         .memory_bytes = f.memory_bytes,
                         .threads = 1,
                         .host_memory = false,
                         .max_allocation_bytes = f.max_buffer_bytes},
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
          .record = record,
          .replay = replay,
          .release_recording = release_recording,
          .destroy = destroy};
}

}  // namespace

Result<DevicePtr> open_opencl_device(const DeviceOptions& options) {
  ASSIGN_OR_RETURN(const Api* api, opencl::load_api());
  ASSIGN_OR_RETURN(std::vector<Found> devices, opencl::find_devices(*api));
  size_t index = static_cast<size_t>(options.index);
  if (options.index < 0 || index >= devices.size())
    return Status::error(str("--device: there is no opencl:", options.index, ", this machine has opencl:0",
                             devices.size() > 1 ? str(" to opencl:", devices.size() - 1) : "",
                             "; see mlc_llm devices"));
  auto d = std::make_unique<ClDevice>();
  d->api = api;
  d->notice = options.notice;
  d->found = devices[index];
  cl_int code = CL_SUCCESS;
  cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                        reinterpret_cast<cl_context_properties>(d->found.platform), 0};
  d->context = api->clCreateContext(properties, 1, &d->found.device, nullptr, nullptr, &code);
  if (d->context) d->queue = api->clCreateCommandQueue(d->context, d->found.device, 0, &code);
  if (!d->queue)
    return Status::error(str("--device opencl: ", d->found.name, " gives no context: ", error_name(code),
                             "; see mlc_llm devices"));
  auto* device = new Device(functions_of(d->found));
  device->self = d.release();
  return DevicePtr(device);
}

Result<std::vector<ListedDevice>> list_opencl_devices() {
  ASSIGN_OR_RETURN(const Api* api, opencl::load_api());
  ASSIGN_OR_RETURN(std::vector<Found> devices, opencl::find_devices(*api));
  std::vector<ListedDevice> listed;
  for (const Found& f : devices) {
    std::vector<std::string> features(f.features.begin(), f.features.end());
    features.push_back(str("groups of ", f.group_size));
    features.push_back(str(memory_text(f.shared_bytes), " local memory"));
    features.push_back(str(memory_text(f.max_buffer_bytes), " a buffer"));
    listed.push_back({.name = str("opencl:", listed.size()),
                      .description = str(f.name, ", driver ", f.driver, ", ", f.version),
                      .memory_bytes = f.memory_bytes,
                      .features = features,
                      .software = f.features.contains("software")});
  }
  return listed;
}

const OpenClCounters& opencl_counters(const Device& device) {
  internal_check(device.properties.name == "opencl", "opencl_counters of another device");
  return of(device.self).counters;
}

}  // namespace mlc::runtime
