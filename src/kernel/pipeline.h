// The kernel passes in order.
#pragma once

#include <functional>
#include <string>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::kernel {

struct PassOptions {
  const Target* target = nullptr;
  // Receives "<kernel>-after-<pass>" and the kernel's text; only called when set.
  std::function<void(const std::string& name, const std::string& text)> dump;
};

// A lowered function, made legal for the target and ready for an emitter. Verified after every pass;
// for a GPU the result is a device function (ir.h).
Function run_passes(Function function, const PassOptions& options);

}  // namespace mlc::kernel
