// The functions of the CUDA driver and of HIP that we call, in declarations of our own: drivers are opened at
// run time and no SDK is needed to build. CUDA Driver API reference, where names and layouts are frozen per
// version suffix; HIP API reference, whose functions have the same parameters and codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

// CUdevice_attribute.
inline constexpr int kComputeMajor = 75, kComputeMinor = 76;
// CUjit_option.
inline constexpr int kJitErrorLog = 5, kJitErrorLogBytes = 6;
inline constexpr unsigned kStreamNonBlocking = 1, kEventNoTiming = 2, kCaptureThisThread = 1;

// X(name, symbol in CUDA's driver, in HIP, parameters)
#define MLC_DRIVER_FUNCTIONS(X)                                                                             \
  X(init, "cuInit", "hipInit", (unsigned flags))                                                            \
  X(driver_version, "cuDriverGetVersion", "hipDriverGetVersion", (int* version))                            \
  X(error_name, "cuGetErrorName", "hipDrvGetErrorName", (Code code, const char** name))                     \
  X(device_count, "cuDeviceGetCount", "hipGetDeviceCount", (int* count))                                    \
  X(device_get, "cuDeviceGet", "hipDeviceGet", (DeviceNumber * device, int index))                          \
  X(device_name, "cuDeviceGetName", "hipDeviceGetName", (char* name, int bytes, DeviceNumber device))       \
  X(device_memory, "cuDeviceTotalMem_v2", "hipDeviceTotalMem", (size_t* bytes, DeviceNumber device))        \
  X(device_attribute, "cuDeviceGetAttribute", "hipDeviceGetAttribute",                                      \
    (int* value, int attribute, DeviceNumber device))                                                       \
  X(context_retain, "cuDevicePrimaryCtxRetain", "hipDevicePrimaryCtxRetain",                                \
    (Context * context, DeviceNumber device))                                                               \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", "hipDevicePrimaryCtxRelease", (DeviceNumber device))   \
  X(context_use, "cuCtxSetCurrent", "hipCtxSetCurrent", (Context context))                                  \
  X(stream_create, "cuStreamCreate", "hipStreamCreateWithFlags", (Stream * stream, unsigned flags))         \
  X(stream_destroy, "cuStreamDestroy_v2", "hipStreamDestroy", (Stream stream))                              \
  X(stream_wait, "cuStreamSynchronize", "hipStreamSynchronize", (Stream stream))                            \
  X(capture_begin, "cuStreamBeginCapture_v2", "hipStreamBeginCapture", (Stream stream, int mode))           \
  X(capture_end, "cuStreamEndCapture", "hipStreamEndCapture", (Stream stream, Graph * graph))               \
  X(graph_make_run, "cuGraphInstantiateWithFlags", "hipGraphInstantiateWithFlags",                          \
    (GraphRun * run, Graph graph, unsigned long long flags))                                                \
  X(graph_launch, "cuGraphLaunch", "hipGraphLaunch", (GraphRun run, Stream stream))                         \
  X(graph_run_destroy, "cuGraphExecDestroy", "hipGraphExecDestroy", (GraphRun run))                         \
  X(graph_destroy, "cuGraphDestroy", "hipGraphDestroy", (Graph graph))                                      \
  X(event_create, "cuEventCreate", "hipEventCreateWithFlags", (Event * event, unsigned flags))              \
  X(event_destroy, "cuEventDestroy_v2", "hipEventDestroy", (Event event))                                   \
  X(event_record, "cuEventRecord", "hipEventRecord", (Event event, Stream stream))                          \
  X(event_query, "cuEventQuery", "hipEventQuery", (Event event))                                            \
  X(allocate, "cuMemAlloc_v2", "hipMalloc", (Pointer * memory, size_t bytes))                               \
  X(release, "cuMemFree_v2", "hipFree", (Pointer memory))                                                   \
  X(allocate_in_pool, "cuMemAllocAsync", "hipMallocAsync", (Pointer * memory, size_t bytes, Stream stream)) \
  X(release_in_pool, "cuMemFreeAsync", "hipFreeAsync", (Pointer memory, Stream stream))                     \
  X(host_allocate, "cuMemAllocHost_v2", "hipMemAllocHost", (void** memory, size_t bytes))                   \
  X(host_release, "cuMemFreeHost", "hipHostFree", (void* memory))                                           \
  X(copy_in, "cuMemcpyHtoDAsync_v2", "hipMemcpyHtoDAsync",                                                  \
    (Pointer to, const void* from, size_t bytes, Stream stream))                                            \
  X(copy_out, "cuMemcpyDtoHAsync_v2", "hipMemcpyDtoHAsync",                                                 \
    (void* to, Pointer from, size_t bytes, Stream stream))                                                  \
  X(fill, "cuMemsetD8Async", "hipMemsetD8Async",                                                            \
    (Pointer to, unsigned char value, size_t bytes, Stream stream))                                         \
  X(module_load, "cuModuleLoadDataEx", "hipModuleLoadDataEx",                                               \
    (CodeModule * module, const void* image, unsigned options, int* names, void** values))                  \
  X(module_unload, "cuModuleUnload", "hipModuleUnload", (CodeModule module))                                \
  X(module_function, "cuModuleGetFunction", "hipModuleGetFunction",                                         \
    (Function * function, CodeModule module, const char* name))                                             \
  X(launch, "cuLaunchKernel", "hipModuleLaunchKernel",                                                      \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned group_x,                \
     unsigned group_y, unsigned group_z, unsigned shared_bytes, Stream stream, void** parameters,           \
     void** extra))

// What differs between the two drivers that have these functions: CUDA's, and HIP, which is AMD's twin of it.
struct Vendor {
  const char* kind;              // of the device: "cuda"
  const char* driver;            // for people: "NVIDIA driver"
  const char* missing;           // what is said where there is none
  const char* tool;              // that shows what the driver sees
  int oldest;                    // version: of CUDA 1000 major + 10 minor, of HIP 10^7 major + 10^5 minor
  int major, minor;              // what a version counts one of them by
  const char* product;           // what the version is of: "CUDA"
  bool hip;                      // whose symbols
  void* (*symbol)(const char*);  // in the driver, opened when it is first asked for; null: none
};
extern const Vendor kCudaVendor, kRocmVendor;

struct Api {
#define MLC_DRIVER_MEMBER(name, cuda_symbol, hip_symbol, parameters) Code(*name) parameters = nullptr;
  MLC_DRIVER_FUNCTIONS(MLC_DRIVER_MEMBER)
#undef MLC_DRIVER_MEMBER
  // HIP alone: hipGetDevicePropertiesR0600. CUDA: null.
  Code (*properties)(void* properties, DeviceNumber device) = nullptr;
  const Vendor* vendor = nullptr;
};

// A symbol of the driver, or null: dlsym of libcuda, or what stands in for it.
using Lookup = void* (*)(const char* symbol);

// A driver, opened and initialized once a process. Errors: none on this machine, one too old, one without a
// GPU.
Result<const Api*> load_api(const Vendor& vendor = kCudaVendor);
// Makes load_api() look there instead, from now on; null: in the driver again. For tests (simulate/cuda).
void set_driver_for_tests(Lookup lookup, const Vendor& vendor = kCudaVendor);

// The driver's version: "13.0".
std::string driver_text(const Api& api);

// "CUDA_ERROR_OUT_OF_MEMORY"; "error 1234" for a code that the driver does not know.
std::string error_name(const Api& api, Code code);

}  // namespace mlc::runtime::cuda
