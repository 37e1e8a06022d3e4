// Speaks with Dawn.
#include "simulate/webgpu_device.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "runtime/devices/device_of.h"
#include "runtime/devices/gpu_launch.h"
#include "runtime/devices/gpu_requirements.h"

namespace mlc {
namespace {

using runtime::DeviceAddress;
using runtime::DeviceBuffer;
using runtime::KernelSet;
using runtime::Launch;

constexpr const char* kKind = "webgpu";
constexpr int64_t kMemoryBytes = int64_t{4} << 30;

std::string source_tree;

enum class Ask : uint32_t { kOpen = 1, kAllocate, kFree, kWrite, kRead, kLoad, kRun, kUnload };

Status problem(const std::string& what) { return Status::error("webgpu device: " + what); }

void append(std::string& to, uint64_t value, int bytes = 4) {
  to.append(reinterpret_cast<const char*>(&value), static_cast<size_t>(bytes));
}

uint32_t id_of(const std::string& answer) {
  uint32_t id = 0;
  std::memcpy(&id, answer.data(), std::min(answer.size(), sizeof id));
  return id;
}

// The process and its two pipes.
class Dawn {
 public:
  Status start();
  ~Dawn();
  Result<std::string> ask(Ask what, std::string_view request);

 private:
  bool move(bool out, void* bytes, size_t size);
  pid_t process_ = 0;
  int to_ = -1, from_ = -1;
};

Status Dawn::start() {
  const std::string tools = path_join(source_tree, ".cache/dawn");
  if (!file_exists(path_join(tools, "package/index.js")))
    return Status::error("--device webgpu: " + tools + " is not here; run scripts/dawn");
  int out[2], in[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(in, O_CLOEXEC) != 0) return problem("no pipe");
  const std::string script = path_join(source_tree, "src/simulate/webgpu/dawn.mjs"),
                    driver = "VK_ICD_FILENAMES=" + path_join(tools, "lvp_icd.json"),
                    libraries = "LD_LIBRARY_PATH=" + path_join(tools, "usr/lib/x86_64-linux-gnu");
  const int quiet = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  process_ = fork();
  if (process_ == 0) {
    dup2(out[0], 0);
    dup2(in[1], 1);
    dup2(quiet, 2);
    execlp("env", "env", driver.c_str(), libraries.c_str(), "node", script.c_str(), tools.c_str(), nullptr);
    _exit(127);
  }
  close(quiet);
  close(out[0]);
  close(in[1]);
  to_ = out[1];
  from_ = in[0];
  return process_ > 0 ? Status::ok() : problem("no further process");
}

Dawn::~Dawn() {
  if (to_ >= 0) close(to_);  // which ends it
  if (from_ >= 0) close(from_);
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

bool Dawn::move(bool out, void* bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    char* at = static_cast<char*>(bytes) + done;
    const ssize_t n = out ? ::write(to_, at, size - done) : ::read(from_, at, size - done);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

Result<std::string> Dawn::ask(Ask what, std::string_view request) {
  uint32_t head[2] = {static_cast<uint32_t>(what), static_cast<uint32_t>(request.size())};
  if (!move(true, head, sizeof head) || !move(true, const_cast<char*>(request.data()), request.size()) ||
      !move(false, head, sizeof head))
    return problem("Dawn's process has ended; Node 20 or newer runs it");
  std::string answer(head[1], '\0');
  if (!move(false, answer.data(), answer.size())) return problem("Dawn's process has ended");
  if (head[0] != 0) return problem(answer);
  return answer;
}

struct Kernels {
  uint32_t id = 0;
  std::vector<GpuKernelView> views;
};

class WebGpuSimulator {
 public:
  Result<DeviceBuffer> allocate(int64_t bytes);
  void release(DeviceBuffer buffer);
  Status copy_in(DeviceAddress to, std::span<const std::byte> from);
  Status begin_read(std::span<std::byte> to, DeviceAddress from);
  Result<bool> poll() { return true; }
  std::string missing_requirement(const Json& header);
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant);
  void unload_kernels(KernelSet kernels);
  Status submit(KernelSet kernels, std::span<const Launch> launches);
  Status sync() { return Status::ok(); }
  Status open();
  std::string description() const { return find_string(found_, "description").value_or("?"); }

 private:
  int64_t left(DeviceAddress a) const {
    auto it = sizes_.find(a.handle);
    return it == sizes_.end() || a.offset < 0 ? -1 : it->second - a.offset;
  }
  static uint32_t number(void* handle) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(handle)); }

  Dawn dawn_;
  Json found_;
  std::map<void*, int64_t> sizes_;
};

Status WebGpuSimulator::open() {
  RETURN_IF_ERROR(dawn_.start());
  ASSIGN_OR_RETURN(const std::string answer, dawn_.ask(Ask::kOpen, ""));
  ASSIGN_OR_RETURN(found_, parse_json(answer, "Dawn's answer"));
  return Status::ok();
}

Result<DeviceBuffer> WebGpuSimulator::allocate(int64_t bytes) {
  if (bytes < 0 || bytes > kMemoryBytes) return problem(str("cannot allocate ", bytes, " bytes"));
  std::string request;
  append(request, static_cast<uint64_t>(bytes), 8);
  ASSIGN_OR_RETURN(const std::string id, dawn_.ask(Ask::kAllocate, request));
  void* handle = reinterpret_cast<void*>(static_cast<uintptr_t>(id_of(id)));
  sizes_[handle] = bytes;
  return DeviceBuffer{handle, bytes};
}

void WebGpuSimulator::release(DeviceBuffer buffer) {
  internal_check(sizes_.erase(buffer.handle) == 1, "webgpu device: memory that is not live");
  std::string request;
  append(request, number(buffer.handle));
  static_cast<void>(dawn_.ask(Ask::kFree, request));
}

Status WebGpuSimulator::copy_in(DeviceAddress to, std::span<const std::byte> from) {
  if (left(to) < static_cast<int64_t>(from.size())) return problem("a copy past the end of a buffer");
  if (from.empty()) return Status::ok();
  std::string request;
  append(request, number(to.handle));
  append(request, static_cast<uint64_t>(to.offset));
  request.append(reinterpret_cast<const char*>(from.data()), from.size());
  return dawn_.ask(Ask::kWrite, request).status();
}

Status WebGpuSimulator::begin_read(std::span<std::byte> to, DeviceAddress from) {
  if (to.empty()) return Status::ok();
  if (left(from) < static_cast<int64_t>(to.size())) return problem("a read past the end of a buffer");
  std::string request;
  append(request, number(from.handle));
  append(request, static_cast<uint64_t>(from.offset));
  append(request, to.size());
  ASSIGN_OR_RETURN(const std::string bytes, dawn_.ask(Ask::kRead, request));
  std::memcpy(to.data(), bytes.data(), to.size());
  return Status::ok();
}

std::string WebGpuSimulator::missing_requirement(const Json& header) {
  std::vector<std::string> features = {"software"};
  if (const int64_t lanes = find_int(found_, "lanes").value_or(0))
    features.push_back(str("subgroups_", lanes));
  return runtime::missing_gpu_requirement({.kind = kKind,
                                           .features = std::move(features),
                                           .group_size = 256,
                                           .shared_bytes = find_int(found_, "shared").value_or(0)},
                                          header);
}

Result<KernelSet> WebGpuSimulator::load_kernels(const MlcLibraryVariant& variant) {
  auto kernels = std::make_unique<Kernels>();
  Json list = Json::array();
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], GpuLanguage::kWgsl));
    kernels->views.push_back(view);
    list.push_back({{"name", view.name},
                    {"code", view.code},
                    {"buffers", view.header.buffer_count},
                    {"dims", view.header.dim_count},
                    {"written", view.header.written}});
  }
  ASSIGN_OR_RETURN(const std::string id, dawn_.ask(Ask::kLoad, json_text(list)));
  kernels->id = id_of(id);
  return static_cast<KernelSet>(kernels.release());
}

void WebGpuSimulator::unload_kernels(KernelSet set) {
  auto* kernels = static_cast<Kernels*>(set);
  std::string request;
  append(request, kernels->id);
  static_cast<void>(dawn_.ask(Ask::kUnload, request));
  delete kernels;
}

Status WebGpuSimulator::submit(KernelSet set, std::span<const Launch> launches) {
  const Kernels& kernels = *static_cast<Kernels*>(set);
  std::string request;
  append(request, kernels.id);
  append(request, launches.size());
  for (const Launch& launch : launches) {
    if (launch.kernel >= kernels.views.size()) return problem(str("no kernel ", launch.kernel));
    RETURN_IF_ERROR(runtime::check_launch(kKind, kernels.views[launch.kernel], launch));
    append(request, launch.kernel);
    append(request, static_cast<uint64_t>(launch.tiles));
    for (const DeviceAddress& a : launch.buffers) {
      if (left(a) < a.bytes) return problem("a buffer that is not live or too small");
      append(request, number(a.handle));
      append(request, static_cast<uint64_t>(a.offset));
      append(request, static_cast<uint64_t>(a.bytes ? a.bytes : left(a)));
    }
    for (int64_t d : launch.dims) append(request, static_cast<uint64_t>(d));
  }
  return dawn_.ask(Ask::kRun, request).status();
}

Result<runtime::DevicePtr> open_simulator(const runtime::DeviceOptions&) {
  auto device = std::make_unique<WebGpuSimulator>();
  RETURN_IF_ERROR(device->open());
  const std::string description = device->description();
  return runtime::device_of(std::move(device), {.name = kKind,
                                                .description = description,
                                                .memory_bytes = kMemoryBytes,
                                                .threads = 1,
                                                .host_memory = false,
                                                .max_binding_bytes = int64_t{128} << 20});
}

}  // namespace

void register_webgpu_simulator(const std::string& source) {
  [[maybe_unused]] static const bool done = [&] {
    source_tree = source;
    runtime::register_device(kKind, open_simulator);
    return true;
  }();
}

}  // namespace mlc
