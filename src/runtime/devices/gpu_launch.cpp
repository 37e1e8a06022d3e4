// Checks launches.
#include "runtime/devices/gpu_launch.h"

#include "base/strings.h"

namespace mlc::runtime {

Status check_launch(std::string_view device, const GpuKernelView& kernel, const Launch& launch) {
  if (launch.buffers.size() != kernel.header.buffer_count || launch.dims.size() != kernel.header.dim_count)
    return Status::error(str(device, " device: kernel ", kernel.name, " takes ", kernel.header.buffer_count,
                             " buffers and ", kernel.header.dim_count, " dims, got ", launch.buffers.size(),
                             " and ", launch.dims.size()));
  for (int64_t dim : launch.dims)
    if (dim < 0 || dim > INT32_MAX)
      return Status::error(str(device, " device: kernel ", kernel.name, ": a dim of ", dim, " is too large"));
  if (launch.tiles < 0 || launch.tiles > INT32_MAX)
    return Status::error(
        str(device, " device: kernel ", kernel.name, ": ", launch.tiles, " groups are too many"));
  return Status::ok();
}

}  // namespace mlc::runtime
