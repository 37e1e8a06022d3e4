// The functions of the CUDA driver that we call, in declarations of our own: the driver is opened at run time
// and no SDK is needed to build. CUDA Driver API reference; names and layouts are frozen there per version
// suffix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace mlc::runtime::cuda {

using Code = int;  // CUresult
using DeviceNumber = int;
using Pointer = uint64_t;  // CUdeviceptr
struct ContextObject;
struct ModuleObject;
struct FunctionObject;
struct StreamObject;
struct EventObject;
struct GraphObject;
struct GraphRunObject;
using Context = ContextObject*;
using CodeModule = ModuleObject*;
using Function = FunctionObject*;
using Stream = StreamObject*;
using Event = EventObject*;
using Graph = GraphObject*;
using GraphRun = GraphRunObject*;

inline constexpr Code kSuccess = 0, kOutOfMemory = 2, kNoDevice = 100, kInvalidPtx = 218,
                      kUnsupportedPtx = 222, kNotReady = 600;
inline constexpr int kOldestDriver = 11040;  // CUDA 11.4: the graph functions below

// CUdevice_attribute.
inline constexpr int kComputeMajor = 75, kComputeMinor = 76, kHasPools = 115, kSharedOfGroup = 8,
                     kProcessors = 16;
// CUjit_option.
inline constexpr int kJitErrorLog = 5, kJitErrorLogBytes = 6;
inline constexpr unsigned kStreamNonBlocking = 1, kEventNoTiming = 2, kCaptureThisThread = 1;

// X(name, symbol in the driver, parameters)
#define MLC_CUDA_FUNCTIONS(X)                                                                               \
  X(init, "cuInit", (unsigned flags))                                                                       \
  X(driver_version, "cuDriverGetVersion", (int* version))                                                   \
  X(error_name, "cuGetErrorName", (Code code, const char** name))                                           \
  X(device_count, "cuDeviceGetCount", (int* count))                                                         \
  X(device_get, "cuDeviceGet", (DeviceNumber * device, int index))                                          \
  X(device_name, "cuDeviceGetName", (char* name, int bytes, DeviceNumber device))                           \
  X(device_memory, "cuDeviceTotalMem_v2", (size_t* bytes, DeviceNumber device))                             \
  X(device_attribute, "cuDeviceGetAttribute", (int* value, int attribute, DeviceNumber device))             \
  X(context_retain, "cuDevicePrimaryCtxRetain", (Context * context, DeviceNumber device))                   \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", (DeviceNumber device))                                 \
  X(context_use, "cuCtxSetCurrent", (Context context))                                                      \
  X(stream_create, "cuStreamCreate", (Stream * stream, unsigned flags))                                     \
  X(stream_destroy, "cuStreamDestroy_v2", (Stream stream))                                                  \
  X(stream_wait, "cuStreamSynchronize", (Stream stream))                                                    \
  X(capture_begin, "cuStreamBeginCapture_v2", (Stream stream, int mode))                                    \
  X(capture_end, "cuStreamEndCapture", (Stream stream, Graph * graph))                                      \
  X(graph_make_run, "cuGraphInstantiateWithFlags", (GraphRun * run, Graph graph, unsigned long long flags)) \
  X(graph_launch, "cuGraphLaunch", (GraphRun run, Stream stream))                                           \
  X(graph_run_destroy, "cuGraphExecDestroy", (GraphRun run))                                                \
  X(graph_destroy, "cuGraphDestroy", (Graph graph))                                                         \
  X(event_create, "cuEventCreate", (Event * event, unsigned flags))                                         \
  X(event_destroy, "cuEventDestroy_v2", (Event event))                                                      \
  X(event_record, "cuEventRecord", (Event event, Stream stream))                                            \
  X(event_query, "cuEventQuery", (Event event))                                                             \
  X(allocate, "cuMemAlloc_v2", (Pointer * memory, size_t bytes))                                            \
  X(release, "cuMemFree_v2", (Pointer memory))                                                              \
  X(allocate_in_pool, "cuMemAllocAsync", (Pointer * memory, size_t bytes, Stream stream))                   \
  X(release_in_pool, "cuMemFreeAsync", (Pointer memory, Stream stream))                                     \
  X(host_allocate, "cuMemAllocHost_v2", (void** memory, size_t bytes))                                      \
  X(host_release, "cuMemFreeHost", (void* memory))                                                          \
  X(copy_in, "cuMemcpyHtoDAsync_v2", (Pointer to, const void* from, size_t bytes, Stream stream))           \
  X(copy_out, "cuMemcpyDtoHAsync_v2", (void* to, Pointer from, size_t bytes, Stream stream))                \
  X(fill, "cuMemsetD8Async", (Pointer to, unsigned char value, size_t bytes, Stream stream))                \
  X(module_load, "cuModuleLoadDataEx",                                                                      \
    (CodeModule * module, const void* image, unsigned options, int* names, void** values))                  \
  X(module_unload, "cuModuleUnload", (CodeModule module))                                                   \
  X(module_function, "cuModuleGetFunction", (Function * function, CodeModule module, const char* name))     \
  X(launch, "cuLaunchKernel",                                                                               \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned group_x,                \
     unsigned group_y, unsigned group_z, unsigned shared_bytes, Stream stream, void** parameters,           \
     void** extra))

struct Api {
#define MLC_CUDA_MEMBER(name, symbol, parameters) Code(*name) parameters = nullptr;
  MLC_CUDA_FUNCTIONS(MLC_CUDA_MEMBER)
#undef MLC_CUDA_MEMBER
};

// A symbol of the driver, or null: dlsym of libcuda, or what stands in for it.
using Lookup = void* (*)(const char* symbol);

// The driver, opened and initialized once a process. Errors: none on this machine, one too old, one without a
// GPU.
Result<const Api*> load_api();
// Makes load_api() look there instead, from now on; null: in the driver again. For tests (simulate/cuda).
void set_driver_for_tests(Lookup lookup);

// "CUDA_ERROR_OUT_OF_MEMORY"; "error 1234" for a code that the driver does not know.
std::string error_name(const Api& api, Code code);

}  // namespace mlc::runtime::cuda
