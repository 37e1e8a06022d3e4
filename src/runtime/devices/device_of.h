// Fills a Device from a class whose members are its functions.
#pragma once

#include <memory>
#include <utility>

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// D has the members allocate, release, copy_in, begin_read, poll, missing_requirement, load_kernels,
// unload_kernels, submit, sync, and may have record, replay and release_recording: the functions of Device
// without `self`. The device owns `d`, which is destroyed with it.
template <typename D>
DevicePtr device_of(std::unique_ptr<D> d, DeviceProperties properties) {
  auto* out = new Device{.properties = std::move(properties)};
#define MLC_FORWARD(name) \
  out->name = [](void* self, auto... arguments) { return static_cast<D*>(self)->name(arguments...); }
  MLC_FORWARD(allocate);
  MLC_FORWARD(release);
  MLC_FORWARD(copy_in);
  MLC_FORWARD(begin_read);
  MLC_FORWARD(poll);
  MLC_FORWARD(unload_kernels);
  MLC_FORWARD(submit);
  MLC_FORWARD(sync);
  if constexpr (requires { &D::record; }) {
    MLC_FORWARD(record);
    MLC_FORWARD(replay);
    MLC_FORWARD(release_recording);
  }
#undef MLC_FORWARD
  out->missing_requirement = [](void* self, const Json& header) {
    return static_cast<D*>(self)->missing_requirement(header);
  };
  out->load_kernels = [](void* self, const MlcLibraryVariant& variant) {
    return static_cast<D*>(self)->load_kernels(variant);
  };
  out->destroy = [](void* self) { delete static_cast<D*>(self); };
  out->self = d.release();
  return DevicePtr(out);
}

}  // namespace mlc::runtime
