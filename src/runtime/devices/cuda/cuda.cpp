// The device of CUDA and of HIP: one stream, pinned memory for what crosses the bus, graphs for recordings.
#include "runtime/devices/cuda/cuda.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "runtime/devices/cuda/found.h"
#include "runtime/devices/cuda/program.h"
#include "runtime/devices/device_of.h"
#include "runtime/devices/gpu_launch.h"
#include "runtime/devices/gpu_requirements.h"

namespace mlc::runtime {
namespace {

using cuda::Code;
using cuda::Found;
using cuda::kSuccess;
using cuda::Pointer;
using cuda::Program;

constexpr int64_t kAlignment = 64;
constexpr size_t kPinnedBytes = size_t{1} << 20;  // for uploads between two waits, and as many for a read
constexpr size_t kLargestStaged = size_t{64} << 10;

std::string memory_text(int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

Pointer address_of(DeviceAddress a) {
  return reinterpret_cast<Pointer>(a.handle) + static_cast<Pointer>(a.offset);
}

class StreamDevice {
 public:
  StreamDevice(const cuda::Api& api, Found found) : api_(api), found_(std::move(found)) {}
  StreamDevice(const StreamDevice&) = delete;
  StreamDevice& operator=(const StreamDevice&) = delete;
  ~StreamDevice();
  Status open();

  Result<DeviceBuffer> allocate(int64_t bytes);
  void release(DeviceBuffer buffer);
  Status copy_in(DeviceAddress to, std::span<const std::byte> from);
  Status begin_read(std::span<std::byte> to, DeviceAddress from);
  Result<bool> poll();
  std::string missing_requirement(const Json& header);
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant);
  void unload_kernels(KernelSet kernels);
  Status submit(KernelSet kernels, std::span<const Launch> launches);
  Status sync();
  Result<Recording> record(KernelSet kernels, std::span<const Launch> launches);
  Status replay(Recording recording);
  void release_recording(Recording recording);

  CudaCounters counters;

 private:
  // Every call of the driver is made in this device's context, on whatever thread drives it.
  const char* kind() const { return api_.vendor->kind; }
  void enter() { api_.context_use(context_); }
  Status failed(const std::string& what, Code code) const;
  Status launch(const Program& program, const Launch& l);
  Status launch_all(const Program& program, std::span<const Launch> launches);

  const cuda::Api& api_;
  Found found_;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  cuda::Event read_done_ = nullptr;
  std::byte *uploads_ = nullptr, *arrivals_ = nullptr;  // pinned
  size_t staged_ = 0;                                   // bytes of uploads_ that copies not yet run may read
  size_t staged_before_read_ = 0;
  bool reading_ = false;
  std::span<std::byte> wanted_;      // where to copy arrivals_
  std::vector<uint64_t> addresses_;  // of a launch's parameters; kept so that a step allocates nothing
  std::vector<int32_t> dims_;
  std::vector<void*> parameters_;
};

StreamDevice::~StreamDevice() {
  if (!context_) return;
  enter();
  if (stream_) api_.stream_wait(stream_);
  if (read_done_) api_.event_destroy(read_done_);
  if (uploads_) api_.host_release(uploads_);
  if (arrivals_) api_.host_release(arrivals_);
  if (stream_) api_.stream_destroy(stream_);
  api_.context_release(found_.device);
}

Status StreamDevice::open() {
  auto check = [&](Code code, const char* what) {
    return code == kSuccess
               ? Status::ok()
               : Status::error(str("--device ", kind(), ": ", found_.name, " gives no ", what, ": ",
                                   cuda::error_name(api_, code), "; see ", api_.vendor->tool));
  };
  RETURN_IF_ERROR(check(api_.context_retain(&context_, found_.device), "context"));
  enter();
  RETURN_IF_ERROR(check(api_.stream_create(&stream_, cuda::kStreamNonBlocking), "stream"));
  RETURN_IF_ERROR(check(api_.event_create(&read_done_, cuda::kEventNoTiming), "event"));
  for (std::byte** memory : {&uploads_, &arrivals_}) {
    void* pinned = nullptr;
    RETURN_IF_ERROR(check(api_.host_allocate(&pinned, kPinnedBytes), "pinned memory"));
    *memory = static_cast<std::byte*>(pinned);
  }
  return Status::ok();
}

Status StreamDevice::failed(const std::string& what, Code code) const {
  std::string text =
      str(kind(), " device: ", what, " failed on ", found_.name, ": ", cuda::error_name(api_, code));
  if (code == cuda::kOutOfMemory)
    text += str(" (it has ", memory_text(found_.memory_bytes), "); lower context_window_size in --overrides");
  return Status::error(text);
}

Result<DeviceBuffer> StreamDevice::allocate(int64_t bytes) {
  if (bytes < 0) return Status::error(str(kind(), " device: negative allocation"));
  enter();
  const auto size =
      static_cast<size_t>(std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment));
  Pointer memory = 0;
  Code code = found_.pools ? api_.allocate_in_pool(&memory, size, stream_) : api_.allocate(&memory, size);
  if (code == kSuccess) {
    code = api_.fill(memory, 0, size, stream_);
    if (code != kSuccess) release({reinterpret_cast<void*>(memory), bytes});
  }
  if (code != kSuccess)
    return Status::error(
        str(kind(), " device: cannot allocate ", memory_text(bytes), " on ", found_.name, " (",
            memory_text(found_.memory_bytes), " in all): ", cuda::error_name(api_, code),
            "; lower context_window_size, prefill_chunk_size or max_batch_size in --overrides"));
  counters.allocations++;
  return DeviceBuffer{reinterpret_cast<void*>(memory), bytes};
}

void StreamDevice::release(DeviceBuffer buffer) {
  enter();
  const auto memory = reinterpret_cast<Pointer>(buffer.handle);
  if (found_.pools)
    api_.release_in_pool(memory, stream_);
  else
    api_.release(memory);
}

// Small uploads are copied aside and not waited for; the driver stages the others before it returns.
Status StreamDevice::copy_in(DeviceAddress to, std::span<const std::byte> from) {
  if (from.empty()) return Status::ok();
  enter();
  const void* source = from.data();
  if (from.size() <= kLargestStaged) {
    if (from.size() > kPinnedBytes - staged_) RETURN_IF_ERROR(sync());
    source = std::memcpy(uploads_ + staged_, from.data(), from.size());
    staged_ += from.size();
  }
  counters.copies++;
  const Code code = api_.copy_in(address_of(to), source, from.size(), stream_);
  return code == kSuccess
             ? Status::ok()
             : failed(str("an upload of ", memory_text(static_cast<int64_t>(from.size()))), code);
}

// What does not fit into pinned memory goes straight to its place, which makes the driver wait.
Status StreamDevice::begin_read(std::span<std::byte> to, DeviceAddress from) {
  enter();
  Code code = kSuccess;
  wanted_ = to.size() <= kPinnedBytes ? to : std::span<std::byte>();
  if (!to.empty()) {
    counters.copies++;
    counters.readbacks++;
    counters.bytes_read += static_cast<int64_t>(to.size());
    code = api_.copy_out(wanted_.empty() ? to.data() : arrivals_, address_of(from), to.size(), stream_);
  }
  if (code == kSuccess) code = api_.event_record(read_done_, stream_);
  reading_ = code == kSuccess;
  staged_before_read_ = staged_;
  return reading_ ? Status::ok()
                  : failed(str("a readback of ", memory_text(static_cast<int64_t>(to.size()))), code);
}

Result<bool> StreamDevice::poll() {
  if (!reading_) return true;
  enter();
  const Code code = api_.event_query(read_done_);
  if (code == cuda::kNotReady) return false;
  reading_ = false;
  if (code != kSuccess) return failed("a step", code);
  if (!wanted_.empty()) std::memcpy(wanted_.data(), arrivals_, wanted_.size());
  if (staged_ == staged_before_read_) staged_ = 0;
  return true;
}

std::string StreamDevice::missing_requirement(const Json& header) {
  constexpr int64_t kThreads = 1024;  // of a group, on every architecture
  return missing_gpu_requirement({.kind = kind(),
                                  .features = found_.features,
                                  .group_size = kThreads,
                                  .shared_bytes = found_.shared_bytes},
                                 header);
}

Result<KernelSet> StreamDevice::load_kernels(const MlcLibraryVariant& variant) {
  enter();
  ASSIGN_OR_RETURN(Program program, cuda::load_program(api_, found_.name, variant));
  counters.modules += static_cast<int64_t>(program.modules.size());
  return static_cast<KernelSet>(new Program(std::move(program)));
}

void StreamDevice::unload_kernels(KernelSet kernels) {
  enter();
  auto* program = static_cast<Program*>(kernels);
  api_.stream_wait(stream_);
  cuda::unload_program(api_, *program);
  delete program;
}

// Parameters in the order of formats/library.h: addresses of buffers, then dims.
Status StreamDevice::launch(const Program& program, const Launch& l) {
  if (l.kernel >= program.kernels.size()) return Status::error(str(kind(), " device: no kernel ", l.kernel));
  const GpuKernelView& kernel = program.kernels[l.kernel];
  RETURN_IF_ERROR(check_launch(kind(), kernel, l));
  if (l.tiles == 0) return Status::ok();
  // HIP counts a grid's threads in 32 bits.
  if (api_.vendor->hip && l.tiles * kernel.header.group_size > UINT32_MAX)
    return Status::error(str("rocm device: kernel ", kernel.name, ": ", l.tiles,
                             " groups are too many; lower prefill_chunk_size"));
  addresses_.clear();
  dims_.assign(l.dims.begin(), l.dims.end());
  for (const DeviceAddress& a : l.buffers) addresses_.push_back(address_of(a));
  parameters_.clear();
  for (uint64_t& a : addresses_) parameters_.push_back(&a);
  for (int32_t& d : dims_) parameters_.push_back(&d);
  counters.launches++;
  const Code code = api_.launch(program.functions[l.kernel], static_cast<unsigned>(l.tiles), 1, 1,
                                kernel.header.group_size, 1, 1, 0, stream_, parameters_.data(), nullptr);
  return code == kSuccess ? Status::ok() : failed(str("kernel ", kernel.name), code);
}

Status StreamDevice::launch_all(const Program& program, std::span<const Launch> launches) {
  for (const Launch& l : launches) RETURN_IF_ERROR(launch(program, l));
  return Status::ok();
}

Status StreamDevice::submit(KernelSet kernels, std::span<const Launch> launches) {
  enter();
  return launch_all(*static_cast<const Program*>(kernels), launches);
}

Status StreamDevice::sync() {
  enter();
  const Code code = api_.stream_wait(stream_);
  staged_ = staged_before_read_ = 0;
  return code == kSuccess ? Status::ok() : failed("a step", code);
}

Result<Recording> StreamDevice::record(KernelSet kernels, std::span<const Launch> launches) {
  enter();
  if (Code code = api_.capture_begin(stream_, cuda::kCaptureThisThread); code != kSuccess)
    return failed("a recording", code);
  const Status launched = launch_all(*static_cast<const Program*>(kernels), launches);
  cuda::Graph graph = nullptr;
  Code code = api_.capture_end(stream_, &graph);
  cuda::GraphRun run = nullptr;
  if (code == kSuccess && launched.is_ok()) code = api_.graph_make_run(&run, graph, 0);
  if (graph) api_.graph_destroy(graph);
  RETURN_IF_ERROR(launched);
  if (code != kSuccess) return failed("a recording", code);
  counters.graphs++;
  return static_cast<Recording>(run);
}

Status StreamDevice::replay(Recording recording) {
  enter();
  counters.replays++;
  const Code code = api_.graph_launch(static_cast<cuda::GraphRun>(recording), stream_);
  return code == kSuccess ? Status::ok() : failed("a recorded step", code);
}

void StreamDevice::release_recording(Recording recording) {
  enter();
  api_.stream_wait(stream_);
  api_.graph_run_destroy(static_cast<cuda::GraphRun>(recording));
}

std::string description_of(const cuda::Api& api, const Found& f) {
  return str(f.name, ", ", f.architecture, ", driver for ", api.vendor->product, " ", cuda::driver_text(api));
}

Result<DevicePtr> open(const cuda::Vendor& vendor, const DeviceOptions& options) {
  ASSIGN_OR_RETURN(const cuda::Api* api, cuda::load_api(vendor));
  ASSIGN_OR_RETURN(std::vector<Found> devices, cuda::find_devices(*api));
  const auto index = static_cast<size_t>(options.index);
  const std::string kind = vendor.kind;
  if (options.index < 0 || index >= devices.size())
    return Status::error(str("--device: there is no ", kind, ":", options.index, ", this machine has ", kind,
                             ":0", devices.size() > 1 ? str(" to ", kind, ":", devices.size() - 1) : "",
                             "; see mlc_llm devices"));
  const Found& f = devices[index];
  if (!f.unsupported.empty())
    return Status::error(
        str("--device ", kind, ": ", f.name, " has ", f.unsupported, "; use --device vulkan"));
  auto device = std::make_unique<StreamDevice>(*api, f);
  RETURN_IF_ERROR(device->open());
  return device_of(std::move(device), {.name = kind,
                                       .description = description_of(*api, f),
                                       .memory_bytes = f.memory_bytes,
                                       .threads = 1,
                                       .host_memory = false});
}

Result<std::vector<ListedDevice>> list(const cuda::Vendor& vendor) {
  ASSIGN_OR_RETURN(const cuda::Api* api, cuda::load_api(vendor));
  ASSIGN_OR_RETURN(std::vector<Found> devices, cuda::find_devices(*api));
  std::vector<ListedDevice> listed;
  for (const Found& f : devices)
    listed.push_back({.name = str(vendor.kind, ":", listed.size()),
                      .description = description_of(*api, f),
                      .memory_bytes = f.memory_bytes,
                      .features = {f.features.empty() ? f.architecture : f.features.back(),
                                   str(f.processors, vendor.hip ? " compute units" : " multiprocessors"),
                                   str(memory_text(f.shared_bytes), " shared memory"),
                                   f.pools ? "memory pools" : "no memory pools"},
                      .software = false});
  return listed;
}

}  // namespace

Result<DevicePtr> open_cuda_device(const DeviceOptions& options) { return open(cuda::kCudaVendor, options); }
Result<DevicePtr> open_rocm_device(const DeviceOptions& options) { return open(cuda::kRocmVendor, options); }
Result<std::vector<ListedDevice>> list_cuda_devices() { return list(cuda::kCudaVendor); }
Result<std::vector<ListedDevice>> list_rocm_devices() { return list(cuda::kRocmVendor); }

const CudaCounters& cuda_counters(const Device& device) {
  internal_check(device.properties.name == "cuda" || device.properties.name == "rocm",
                 "cuda_counters of another device");
  return static_cast<const StreamDevice*>(device.self)->counters;
}

}  // namespace mlc::runtime
