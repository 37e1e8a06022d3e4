// A loaded model library: its manifest, the variant this device runs, that variant's plan and kernels.
#pragma once

#include <memory>
#include <string>

#include "formats/library.h"
#include "formats/plan.h"
#include "runtime/device.h"

namespace mlc::runtime {

class Module {
 public:
  // Checks the file (formats/library.h), loads it and takes the first variant whose requirements the device
  // meets. Errors: as describe_library; the loader's first line; no variant for this device (names what is
  // missing); a struct or plan that contradicts the trailer. `system://PREFIX` names a static library linked
  // into this program.
  static Result<std::shared_ptr<Module>> load(Device& device, const std::string& path);
  // A library already in memory (static linking, tests); it must outlive the module. `what` names it in
  // errors.
  static Result<std::shared_ptr<Module>> wrap(Device& device, const MlcModelLibrary& library,
                                              const std::string& what);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const Json& manifest() const { return manifest_; }
  const Plan& plan() const { return plan_; }
  const std::string& variant() const { return variant_; }
  const std::string& path() const { return path_; }
  KernelSet kernels() const { return kernels_; }
  Device& device() const { return device_; }

 private:
  explicit Module(Device& device) : device_(device) {}
  Device& device_;
  std::string path_, variant_;
  Json manifest_;
  Plan plan_;
  KernelSet kernels_ = nullptr;
  void* handle_ = nullptr;  // of platform::open_library
};

}  // namespace mlc::runtime
