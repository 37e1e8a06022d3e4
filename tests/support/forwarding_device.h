// A device that passes every call on to another one, for devices that change some of them.
#pragma once

#include "runtime/device.h"

namespace mlc::testing {

// A copy of `inner` whose functions call `inner` by whatever inner_of(self) gives, a const Device&; `self`
// and what is to be different are for the caller to set. Recordings are not offered.
template <typename Wrapper>
runtime::Device forwarding(const runtime::Device& inner) {
  using runtime::DeviceAddress;
  runtime::Device d{.properties = inner.properties};
  d.allocate = [](void* s, int64_t bytes) {
    return Wrapper::inner_of(s).allocate(Wrapper::inner_of(s).self, bytes);
  };
  d.release = [](void* s, runtime::DeviceBuffer b) {
    Wrapper::inner_of(s).release(Wrapper::inner_of(s).self, b);
  };
  d.copy_in = [](void* s, DeviceAddress to, std::span<const std::byte> from) {
    return Wrapper::inner_of(s).copy_in(Wrapper::inner_of(s).self, to, from);
  };
  d.begin_read = [](void* s, std::span<std::byte> to, DeviceAddress from) {
    return Wrapper::inner_of(s).begin_read(Wrapper::inner_of(s).self, to, from);
  };
  d.poll = [](void* s) { return Wrapper::inner_of(s).poll(Wrapper::inner_of(s).self); };
  d.missing_requirement = [](void* s, const Json& header) {
    return Wrapper::inner_of(s).missing_requirement(Wrapper::inner_of(s).self, header);
  };
  d.load_kernels = [](void* s, const MlcLibraryVariant& variant) {
    return Wrapper::inner_of(s).load_kernels(Wrapper::inner_of(s).self, variant);
  };
  d.unload_kernels = [](void* s, runtime::KernelSet kernels) {
    Wrapper::inner_of(s).unload_kernels(Wrapper::inner_of(s).self, kernels);
  };
  d.submit = [](void* s, runtime::KernelSet kernels, std::span<const runtime::Launch> launches) {
    return Wrapper::inner_of(s).submit(Wrapper::inner_of(s).self, kernels, launches);
  };
  d.sync = [](void* s) { return Wrapper::inner_of(s).sync(Wrapper::inner_of(s).self); };
  d.destroy = [](void* s) { delete static_cast<Wrapper*>(s); };
  return d;
}

}  // namespace mlc::testing
