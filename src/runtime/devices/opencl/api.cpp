// Opens the OpenCL loader.
#include "runtime/devices/opencl/api.h"

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::runtime::opencl {
namespace {

Result<Api> open_loader() {
  void* handle = platform::open_driver(
      {"libOpenCL.so.1", "libOpenCL.so", "OpenCL.dll", "/System/Library/Frameworks/OpenCL.framework/OpenCL"});
  if (!handle)
    return Status::error(
        "--device opencl: no OpenCL loader (libOpenCL.so.1) on this machine; install the GPU vendor's "
        "driver, or "
        "on Debian ocl-icd-libopencl1 and a driver such as pocl-opencl-icd, or use --device cpu");
  Api api;
#define MLC_OPENCL_RESOLVE(function)                                                                 \
  api.function = reinterpret_cast<decltype(api.function)>(platform::find_symbol(handle, #function)); \
  if (!api.function)                                                                                 \
    return Status::error("--device opencl: the OpenCL loader has no " #function                      \
                         ", which OpenCL 1.2 has; update it");
  MLC_OPENCL_FUNCTIONS(MLC_OPENCL_RESOLVE)
#undef MLC_OPENCL_RESOLVE
  return api;
}

}  // namespace

Result<const Api*> load_api() {
  ASSIGN_OR_RETURN(const Api* api, load_api_for_tests());
  return api;
}

Result<Api*> load_api_for_tests() {
  static Result<Api> api = open_loader();
  if (!api.is_ok()) return api.status();
  return &api.value();
}

std::string error_name(cl_int code) {
  switch (code) {
#define MLC_OPENCL_ERROR(name) \
  case name: return #name;
    MLC_OPENCL_ERROR(CL_DEVICE_NOT_AVAILABLE)
    MLC_OPENCL_ERROR(CL_COMPILER_NOT_AVAILABLE)
    MLC_OPENCL_ERROR(CL_MEM_OBJECT_ALLOCATION_FAILURE)
    MLC_OPENCL_ERROR(CL_OUT_OF_RESOURCES)
    MLC_OPENCL_ERROR(CL_OUT_OF_HOST_MEMORY)
    MLC_OPENCL_ERROR(CL_BUILD_PROGRAM_FAILURE)
    MLC_OPENCL_ERROR(CL_INVALID_VALUE)
    MLC_OPENCL_ERROR(CL_INVALID_BUFFER_SIZE)
    MLC_OPENCL_ERROR(CL_INVALID_KERNEL_ARGS)
    MLC_OPENCL_ERROR(CL_INVALID_WORK_GROUP_SIZE)
    MLC_OPENCL_ERROR(CL_INVALID_BINARY)
#undef MLC_OPENCL_ERROR
    default: return str("error ", code);
  }
}

}  // namespace mlc::runtime::opencl
