// What devices ask of a launch before a driver sees it.
#pragma once

#include <string_view>

#include "runtime/device.h"

namespace mlc::runtime {

// OK when the launch has the buffers and dims that the kernel takes, and numbers that its language can pass.
// Error starts with "`device` device".
Status check_launch(std::string_view device, const GpuKernelView& kernel, const Launch& launch);

}  // namespace mlc::runtime
