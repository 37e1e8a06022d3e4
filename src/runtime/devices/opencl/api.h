// The OpenCL 1.2 functions we call, from a loader that is opened at run time: nothing links against OpenCL.
#pragma once

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <string>

#include "base/status.h"

namespace mlc::runtime::opencl {

#define MLC_OPENCL_FUNCTIONS(X)                                                                      \
  X(clBuildProgram)                                                                                  \
  X(clCreateBuffer)                                                                                  \
  X(clCreateCommandQueue)                                                                            \
  X(clCreateContext)                                                                                 \
  X(clCreateKernel)                                                                                  \
  X(clCreateProgramWithBinary) X(clCreateProgramWithSource) X(clEnqueueFillBuffer)                   \
      X(clEnqueueMarkerWithWaitList) X(clEnqueueNDRangeKernel) X(clEnqueueReadBuffer)                \
          X(clEnqueueWriteBuffer) X(clFinish) X(clFlush) X(clGetDeviceIDs) X(clGetDeviceInfo)        \
              X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetEventInfo) X(clGetProgramBuildInfo)    \
                  X(clGetProgramInfo) X(clReleaseEvent) X(clReleaseCommandQueue) X(clReleaseContext) \
                      X(clReleaseKernel) X(clReleaseMemObject) X(clReleaseProgram) X(clSetKernelArg)

struct Api {
#define MLC_OPENCL_MEMBER(name) decltype(&::name) name = nullptr;
  MLC_OPENCL_FUNCTIONS(MLC_OPENCL_MEMBER)
#undef MLC_OPENCL_MEMBER
};

// Opens the loader once a process and keeps it. Error: no loader (what to install), or one without a
// function.
Result<const Api*> load_api();
// The same, to put failing functions into: every OpenCL device of the process calls them.
Result<Api*> load_api_for_tests();

// "CL_OUT_OF_RESOURCES"; "error -1234" for codes without a name here.
std::string error_name(cl_int code);

}  // namespace mlc::runtime::opencl
