// The CPU device, one of whose submissions fails: after some of its kernels have run, or before.
#pragma once

#include "runtime/devices/registry.h"
#include "support/compiled_model.h"
#include "support/forwarding_device.h"

namespace mlc::testing {

struct FailingDevice {
  static constexpr const char* kFailure =
      "test device: a step failed: out of memory; lower context_window_size in --overrides";

  runtime::DevicePtr inner;
  int submissions = 0, fail_at = -1;
  bool half_done = false;

  static const runtime::Device& inner_of(void* self) { return *of(self).inner; }
  static FailingDevice& of(void* self) { return *static_cast<FailingDevice*>(self); }

  static runtime::DevicePtr wrap(FailingDevice*& failing) {
    failing = new FailingDevice{.inner = must(runtime::open_device("cpu", {.threads = 1}))};
    auto* device = new runtime::Device(forwarding<FailingDevice>(*failing->inner));
    device->self = failing;
    device->submit = [](void* s, runtime::KernelSet kernels, std::span<const runtime::Launch> launches) {
      FailingDevice& d = of(s);
      bool fails = d.submissions++ == d.fail_at;
      if (fails && d.half_done)
        must(d.inner->submit(d.inner->self, kernels, launches.first(launches.size() / 2)));
      return fails ? Status::error(kFailure) : d.inner->submit(d.inner->self, kernels, launches);
    };
    return runtime::DevicePtr(device);
  }
};

}  // namespace mlc::testing
