// The functions of a fake driver, named here as in CUDA's.
#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "simulate/cuda/state.h"

namespace mlc {

using cuda::Code;
using cuda::kSuccess;
using cuda::Pointer;
using State = FakeDriver::State;

namespace {

// CUdevice_attribute, and hipDeviceAttribute_t of HIP 6 and 7.
struct Attributes {
  int processors, shared_of_group, has_pools;
};
constexpr Attributes kCudaAttributes = {16, 8, 115}, kHipAttributes = {63, 74, 88};
// hipDeviceProp_tR0600 of HIP 6 and 7.
constexpr size_t kHipPropertyBytes = 1472, kHipArchitectureAt = 1160;

// How a call begins: what is asked for must be allowed here, and may be made to fail.
struct Call {
  State& state;
  const char* symbol;
  Code code = kSuccess;

  Call(const char* name, bool needs_context = true) : state(*fake_state()), symbol(fake_symbol_of(name)) {
    if (auto it = state.failing.find(symbol); it != state.failing.end()) {
      code = it->second;
      state.failing.erase(it);
    } else if (!state.started && std::string_view(name) != "cuInit") {
      code = refuse(kNotInitialized, str("before ", fake_symbol_of("cuInit")));
    } else if (needs_context && !fake_context()) {
      code = refuse(kInvalidContext, "on a thread without a context");
    } else if (needs_context) {
      code = state.broken;
    }
  }
  Code refuse(Code why, const std::string& what) { return state.refuse(why, str(symbol, " ", what)); }
  // Not while a stream is recorded: it would not become part of the graph.
  bool during_capture() {
    for (auto& [handle, stream] : state.streams)
      if (stream->capturing) {
        code = refuse(kNotPermittedInCapture, "while a stream is captured");
        return true;
      }
    return false;
  }
  State::Stream* stream(cuda::Stream handle) {
    auto it = state.streams.find(handle);
    if (it == state.streams.end()) code = refuse(kInvalidHandle, "with a stream that is not alive");
    return it == state.streams.end() ? nullptr : it->second.get();
  }
};

#define MLC_BEGIN(symbol)                 \
  Call call(symbol);                      \
  [[maybe_unused]] State& s = call.state; \
  if (call.code) return call.code

template <typename Handle, typename Map>
Code erase(Call& call, Map& alive, Handle handle, const char* what) {
  if (alive.erase(handle) == 0) return call.refuse(kInvalidHandle, str("of a ", what, " that is not alive"));
  return kSuccess;
}

template <typename Handle, typename T>
Handle keep(std::map<const void*, std::unique_ptr<T>>& alive, std::unique_ptr<T> object) {
  const void* handle = object.get();
  alive[handle] = std::move(object);
  return static_cast<Handle>(const_cast<void*>(handle));
}

Code init(unsigned flags) {
  Call call("cuInit", false);
  if (call.code) return call.code;
  if (flags) return call.refuse(kInvalidValue, "with flags");
  call.state.started = true;
  return call.state.options.gpus ? kSuccess : cuda::kNoDevice;
}

Code driver_version(int* version) {
  *version = fake_state()->options.version;
  return kSuccess;
}

Code error_name(Code code, const char** name) {
  static const std::map<Code, const char*> of_cuda = {{kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                                      {cuda::kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                      {cuda::kInvalidPtx, "CUDA_ERROR_INVALID_PTX"},
                                                      {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                      {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};
  static const std::map<Code, const char*> of_hip = {
      {kInvalidValue, "hipErrorInvalidValue"},     {cuda::kOutOfMemory, "hipErrorOutOfMemory"},
      {kInvalidImage, "hipErrorInvalidImage"},     {kNoBinaryForGpu, "hipErrorNoBinaryForGpu"},
      {kIllegalAddress, "hipErrorIllegalAddress"}, {kLaunchFailed, "hipErrorLaunchFailure"}};
  const auto& names = fake_state()->vendor->hip ? of_hip : of_cuda;
  auto it = names.find(code);
  *name = it == names.end() ? nullptr : it->second;
  return it == names.end() ? kInvalidValue : kSuccess;
}

Code device_count(int* count) {
  Call call("cuDeviceGetCount", false);
  *count = call.state.options.gpus;
  return call.code;
}

Code device_get(cuda::DeviceNumber* device, int index) {
  Call call("cuDeviceGet", false);
  if (call.code) return call.code;
  if (index < 0 || index >= call.state.options.gpus)
    return call.refuse(kInvalidValue, "of a GPU that there is not");
  *device = index;
  return kSuccess;
}

Code device_name(char* name, int bytes, cuda::DeviceNumber device) {
  std::snprintf(name, static_cast<size_t>(bytes), "Fake GPU %d", device);
  return kSuccess;
}

Code device_memory(size_t* bytes, cuda::DeviceNumber) {
  *bytes = static_cast<size_t>(fake_state()->options.memory_bytes);
  return kSuccess;
}

Code device_attribute(int* value, int attribute, cuda::DeviceNumber) {
  Call call("cuDeviceGetAttribute", false);
  const FakeDriver::Options& o = call.state.options;
  const bool hip = call.state.vendor->hip;
  const Attributes& a = hip ? kHipAttributes : kCudaAttributes;
  std::map<int, int> known = {
      {a.has_pools, o.pools}, {a.shared_of_group, (hip ? 64 : 48) << 10}, {a.processors, 4}};
  if (!hip) {
    const int number = compute_capability(call.state);
    known[cuda::kComputeMajor] = number / 10, known[cuda::kComputeMinor] = number % 10;
  }
  auto it = known.find(attribute);
  if (it == known.end()) return call.refuse(kInvalidValue, str("of attribute ", attribute));
  *value = it->second;
  return call.code;
}

// HIP alone.
Code properties(void* out, cuda::DeviceNumber device) {
  Call call("hipGetDevicePropertiesR0600", false);
  if (device < 0 || device >= call.state.options.gpus)
    return call.refuse(kInvalidValue, "of a GPU that there is not");
  std::memset(out, 0xFF, kHipPropertyBytes);
  const std::string name = call.state.options.architecture + ":sramecc+:xnack-";
  std::memcpy(static_cast<char*>(out) + kHipArchitectureAt, name.c_str(), name.size() + 1);
  return call.code;
}

Code context_retain(cuda::Context* context, cuda::DeviceNumber device) {
  Call call("cuDevicePrimaryCtxRetain", false);
  if (call.code) return call.code;
  *context = reinterpret_cast<cuda::Context>(static_cast<uintptr_t>(device) + 1);
  call.state.contexts[device]++;
  return kSuccess;
}

Code context_release(cuda::DeviceNumber device) {
  Call call("cuDevicePrimaryCtxRelease_v2", false);
  if (call.state.contexts[device] == 0)
    return call.refuse(kInvalidContext, "more often than it was retained");
  if (--call.state.contexts[device] == 0) fake_context() = nullptr;
  return call.code;
}

Code context_use(cuda::Context context) {
  Call call("cuCtxSetCurrent", false);
  const auto device = static_cast<cuda::DeviceNumber>(reinterpret_cast<uintptr_t>(context)) - 1;
  if (context && call.state.contexts[device] == 0)
    return call.refuse(kInvalidContext, "of a context that is not retained");
  fake_context() = context;
  return call.code;
}

Code stream_create(cuda::Stream* stream, unsigned) {
  MLC_BEGIN("cuStreamCreate");
  *stream = keep<cuda::Stream>(s.streams, std::make_unique<State::Stream>());
  return kSuccess;
}

Code stream_destroy(cuda::Stream handle) {
  MLC_BEGIN("cuStreamDestroy_v2");
  State::Stream* stream = call.stream(handle);
  if (!stream) return call.code;
  s.finish(*stream);
  return erase(call, s.streams, handle, "stream");
}

Code stream_wait(cuda::Stream handle) {
  MLC_BEGIN("cuStreamSynchronize");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  s.finish(*stream);
  return s.broken;
}

Code capture_begin(cuda::Stream handle, int) {
  MLC_BEGIN("cuStreamBeginCapture_v2");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  stream->capturing = true;
  return kSuccess;
}

Code capture_end(cuda::Stream handle, cuda::Graph* graph) {
  MLC_BEGIN("cuStreamEndCapture");
  State::Stream* stream = call.stream(handle);
  if (!stream) return call.code;
  if (!stream->capturing) return call.refuse(kInvalidValue, "of a stream that is not captured");
  stream->capturing = false;
  *graph =
      keep<cuda::Graph>(s.graphs, std::make_unique<std::vector<State::Launch>>(std::move(stream->captured)));
  stream->captured.clear();
  return kSuccess;
}

Code graph_make_run(cuda::GraphRun* run, cuda::Graph graph, unsigned long long) {
  MLC_BEGIN("cuGraphInstantiateWithFlags");
  auto it = s.graphs.find(graph);
  if (it == s.graphs.end()) return call.refuse(kInvalidHandle, "of a graph that is not alive");
  *run = keep<cuda::GraphRun>(s.runs, std::make_unique<std::vector<State::Launch>>(*it->second));
  return kSuccess;
}

Code graph_launch(cuda::GraphRun run, cuda::Stream handle) {
  MLC_BEGIN("cuGraphLaunch");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  auto it = s.runs.find(run);
  if (it == s.runs.end()) return call.refuse(kInvalidHandle, "of a graph that is not alive");
  stream->waiting.push_back([&s, launches = *it->second] {
    for (const State::Launch& l : launches)
      if (s.broken == kSuccess) s.run(l);
  });
  return kSuccess;
}

Code graph_run_destroy(cuda::GraphRun run) {
  MLC_BEGIN("cuGraphExecDestroy");
  return erase(call, s.runs, run, "graph");
}

Code graph_destroy(cuda::Graph graph) {
  MLC_BEGIN("cuGraphDestroy");
  return erase(call, s.graphs, graph, "graph");
}

Code event_create(cuda::Event* event, unsigned) {
  MLC_BEGIN("cuEventCreate");
  *event = keep<cuda::Event>(s.events, std::make_unique<State::Event>());
  return kSuccess;
}

Code event_destroy(cuda::Event event) {
  MLC_BEGIN("cuEventDestroy_v2");
  s.finish_all();
  return erase(call, s.events, event, "event");
}

Code event_record(cuda::Event handle, cuda::Stream where) {
  MLC_BEGIN("cuEventRecord");
  State::Stream* stream = call.stream(where);
  auto it = s.events.find(handle);
  if (!stream || call.during_capture()) return call.code;
  if (it == s.events.end()) return call.refuse(kInvalidHandle, "of an event that is not alive");
  State::Event& event = *it->second;
  event = {true, false, s.options.late_queries};
  stream->waiting.push_back([&event] { event.reached = true; });
  return kSuccess;
}

Code event_query(cuda::Event handle) {
  MLC_BEGIN("cuEventQuery");
  auto it = s.events.find(handle);
  if (it == s.events.end()) return call.refuse(kInvalidHandle, "of an event that is not alive");
  if (!it->second->recorded) return call.refuse(kInvalidValue, "of an event that was never recorded");
  if (it->second->queries_left-- > 0 && !it->second->reached) return cuda::kNotReady;
  s.finish_all();
  return s.broken;
}

Code take_memory(Call& call, Pointer* memory, size_t bytes, bool pool) {
  State& s = call.state;
  if (bytes == 0) return call.refuse(kInvalidValue, "of no bytes");
  if (s.live_bytes() + static_cast<int64_t>(bytes) > s.options.memory_bytes) return cuda::kOutOfMemory;
  void* fresh = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(fresh, 0xFF, bytes);  // NaN, as no driver zeroes
  *memory = reinterpret_cast<Pointer>(fresh);
  s.memory[*memory] = *memory + bytes;
  s.pooled[*memory] = pool;
  return kSuccess;
}

void give_memory(State& s, Pointer memory) {
  s.memory.erase(memory);
  s.pooled.erase(memory);
  std::free(reinterpret_cast<void*>(memory));
}

Code allocate(Pointer* memory, size_t bytes) {
  MLC_BEGIN("cuMemAlloc_v2");
  return call.during_capture() ? call.code : take_memory(call, memory, bytes, false);
}

Code allocate_in_pool(Pointer* memory, size_t bytes, cuda::Stream handle) {
  MLC_BEGIN("cuMemAllocAsync");
  if (!call.stream(handle) || call.during_capture()) return call.code;
  if (!s.options.pools) return call.refuse(kInvalidValue, "on a GPU without memory pools");
  return take_memory(call, memory, bytes, true);
}

Code release(Pointer memory) {
  MLC_BEGIN("cuMemFree_v2");
  s.finish_all();
  auto it = s.pooled.find(memory);
  if (it == s.pooled.end()) return call.refuse(kInvalidValue, "of memory that is not alive");
  if (it->second) return call.refuse(kInvalidValue, "of memory of the pool");
  give_memory(s, memory);
  return kSuccess;
}

Code release_in_pool(Pointer memory, cuda::Stream handle) {
  MLC_BEGIN("cuMemFreeAsync");
  State::Stream* stream = call.stream(handle);
  if (!stream) return call.code;
  s.finish(*stream);
  auto it = s.pooled.find(memory);
  if (it == s.pooled.end()) return call.refuse(kInvalidValue, "of memory that is not alive");
  if (!it->second) return call.refuse(kInvalidValue, "of memory that is not of the pool");
  give_memory(s, memory);
  return kSuccess;
}

Code host_allocate(void** memory, size_t bytes) {
  MLC_BEGIN("cuMemAllocHost_v2");
  *memory = std::malloc(bytes);
  s.pinned[reinterpret_cast<uint64_t>(*memory)] = reinterpret_cast<uint64_t>(*memory) + bytes;
  return kSuccess;
}

Code host_release(void* memory) {
  MLC_BEGIN("cuMemFreeHost");
  s.finish_all();
  if (s.pinned.erase(reinterpret_cast<uint64_t>(memory)) == 0)
    return call.refuse(kInvalidValue, "of memory that is not alive");
  std::free(memory);
  return kSuccess;
}

// That [at, at + bytes) lies in one live allocation when the stream comes to it.
bool check_place(State& s, const char* symbol, Pointer at, size_t bytes) {
  if (s.holds(s.memory, at, bytes)) return true;
  s.broken =
      s.refuse(kIllegalAddress, str(fake_symbol_of(symbol), " of ", bytes, " bytes outside of live memory"));
  return false;
}

Code copy_in(Pointer to, const void* from, size_t bytes, cuda::Stream handle) {
  MLC_BEGIN("cuMemcpyHtoDAsync_v2");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  const bool late = s.holds(s.pinned, reinterpret_cast<uint64_t>(from), bytes);
  std::vector<char> now;
  if (!late) now.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  stream->waiting.push_back([&s, to, from, bytes, late, now = std::move(now)] {
    if (check_place(s, "cuMemcpyHtoDAsync_v2", to, bytes))
      std::memcpy(reinterpret_cast<void*>(to), late ? from : now.data(), bytes);
  });
  return kSuccess;
}

Code copy_out(void* to, Pointer from, size_t bytes, cuda::Stream handle) {
  MLC_BEGIN("cuMemcpyDtoHAsync_v2");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  stream->waiting.push_back([&s, to, from, bytes] {
    if (check_place(s, "cuMemcpyDtoHAsync_v2", from, bytes))
      std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  });
  if (!s.holds(s.pinned, reinterpret_cast<uint64_t>(to), bytes)) s.finish(*stream);
  return s.broken;
}

Code fill(Pointer to, unsigned char value, size_t bytes, cuda::Stream handle) {
  MLC_BEGIN("cuMemsetD8Async");
  State::Stream* stream = call.stream(handle);
  if (!stream || call.during_capture()) return call.code;
  stream->waiting.push_back([&s, to, value, bytes] {
    if (check_place(s, "cuMemsetD8Async", to, bytes)) std::memset(reinterpret_cast<void*>(to), value, bytes);
  });
  return kSuccess;
}

void tell(unsigned options, const int* names, void** values, const std::string& text) {
  char* log = nullptr;
  size_t bytes = 0;
  for (unsigned i = 0; i < options; ++i) {
    if (names[i] == cuda::kJitErrorLog) log = static_cast<char*>(values[i]);
    if (names[i] == cuda::kJitErrorLogBytes) bytes = reinterpret_cast<size_t>(values[i]);
  }
  if (log && bytes) std::snprintf(log, bytes, "%s\n", text.c_str());
}

Code module_load(cuda::CodeModule* out, const void* image, unsigned options, int* names, void** values) {
  MLC_BEGIN("cuModuleLoadDataEx");
  if (call.during_capture()) return call.code;
  auto loaded = std::make_unique<State::Loaded>();
  std::string log, complaint;
  const Code code = load_image(s, image, *loaded, log, complaint);
  if (!log.empty()) tell(options, names, values, log);
  if (code != kSuccess) return complaint.empty() ? code : call.refuse(code, complaint);
  *out = keep<cuda::CodeModule>(s.modules, std::move(loaded));
  return kSuccess;
}

Code module_unload(cuda::CodeModule module) {
  MLC_BEGIN("cuModuleUnload");
  for (auto& [handle, stream] : s.streams)
    if (!stream->waiting.empty()) return call.refuse(kInvalidValue, "while a stream still works");
  return erase(call, s.modules, module, "module");
}

Code module_function(cuda::Function* function, cuda::CodeModule module, const char* name) {
  MLC_BEGIN("cuModuleGetFunction");
  auto it = s.modules.find(module);
  if (it == s.modules.end()) return call.refuse(kInvalidHandle, "of a module that is not alive");
  auto kernel = it->second->kernels.find(name);
  if (kernel == it->second->kernels.end()) return kNotFound;
  it->second->functions.insert(kernel->second.get());
  *function = reinterpret_cast<cuda::Function>(const_cast<GridKernel*>(kernel->second.get()));
  return kSuccess;
}

const GridKernel* find_kernel(const State& s, cuda::Function function) {
  const auto* kernel = reinterpret_cast<const GridKernel*>(function);
  for (const auto& [handle, loaded] : s.modules)
    if (loaded->functions.count(kernel)) return kernel;
  return nullptr;
}

// Copies the parameters as a driver does. An address is one of live memory at a multiple of 16; else the
// layout is wrong.
std::string read_parameters(const State& s, const GridKernel& kernel, void** parameters,
                            std::vector<uint8_t>& out) {
  out.resize(static_cast<size_t>(kernel.parameter_bytes));
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    const GridKernel::Parameter& p = kernel.parameters[i];
    std::memcpy(out.data() + p.offset, parameters[i], static_cast<size_t>(p.bytes));
    uint64_t address = 0;
    if (!p.is_address) continue;
    std::memcpy(&address, parameters[i], sizeof address);
    if (!s.holds(s.memory, address, 0)) return str("parameter ", i, " is no address in live memory");
    if (address % 16) return str("parameter ", i, " is no multiple of 16");
  }
  return "";
}

Code launch(cuda::Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned group_x,
            unsigned group_y, unsigned group_z, unsigned shared_bytes, cuda::Stream handle, void** parameters,
            void** extra) {
  MLC_BEGIN("cuLaunchKernel");
  State::Stream* stream = call.stream(handle);
  if (!stream) return call.code;
  const GridKernel* kernel = find_kernel(s, function);
  if (!kernel) return call.refuse(kInvalidHandle, "of a function that is not loaded");
  if (group_x != static_cast<unsigned>(kernel->threads) || group_y != 1 || group_z != 1)
    return call.refuse(kInvalidValue, str("of ", kernel->name, " in groups of ", group_x, " x ", group_y,
                                          " x ", group_z, " threads, it is made for ", kernel->threads));
  if (grid_x == 0 || grid_x > INT32_MAX || grid_y != 1 || grid_z != 1)
    return call.refuse(kInvalidValue,
                       str("of ", kernel->name, " on ", grid_x, " x ", grid_y, " x ", grid_z, " groups"));
  if (s.vendor->hip && uint64_t{grid_x} * group_x > UINT32_MAX)
    return call.refuse(kInvalidValue, str("of ", kernel->name, " with more threads than 32 bits count"));
  if (shared_bytes || extra)
    return call.refuse(kInvalidValue, str("of ", kernel->name, " with memory that it does not use"));
  State::Launch l{kernel, {.groups = grid_x, .parameters = {}}};
  if (std::string wrong = read_parameters(s, *kernel, parameters, l.call.parameters); !wrong.empty())
    return call.refuse(kInvalidValue, str("of ", kernel->name, ": ", wrong));
  if (stream->capturing)
    stream->captured.push_back(std::move(l));
  else
    stream->waiting.push_back([&s, l = std::move(l)] { s.run(l); });
  return kSuccess;
}

}  // namespace

void State::run(const Launch& launch) {
  bool loaded = false;
  for (const auto& [handle, module] : modules) loaded |= module->functions.count(launch.kernel) > 0;
  if (!loaded) {
    broken = refuse(kLaunchFailed, "a launch of a kernel whose module is gone");
    return;
  }
  try {
    launch.kernel->run(launch.call, memory, counts);
  } catch (const Fault& fault) {
    broken = refuse(kLaunchFailed, fault.what());
  }
}

namespace {

struct Symbol {
  const char *of_cuda, *of_hip;
  void* function;
};
const Symbol kSymbols[] = {
#define MLC_DRIVER_SYMBOL(name, cuda_symbol, hip_symbol, parameters) \
  {cuda_symbol, hip_symbol, reinterpret_cast<void*>(static_cast<decltype(cuda::Api::name)>(name))},
    MLC_DRIVER_FUNCTIONS(MLC_DRIVER_SYMBOL)
#undef MLC_DRIVER_SYMBOL
        {"", "hipGetDevicePropertiesR0600", reinterpret_cast<void*>(properties)},
};

const char* name_in(const State& state, const Symbol& s) { return state.vendor->hip ? s.of_hip : s.of_cuda; }

}  // namespace

void* fake_symbol(const char* symbol) {
  for (const Symbol& s : kSymbols)
    if (name_in(*fake_state(), s) == std::string_view(symbol)) return s.function;
  return nullptr;
}

const char* fake_symbol_of(const char* cuda_symbol) {
  for (const Symbol& s : kSymbols)
    if (s.of_cuda == std::string_view(cuda_symbol)) return name_in(*fake_state(), s);
  return cuda_symbol;
}

}  // namespace mlc
