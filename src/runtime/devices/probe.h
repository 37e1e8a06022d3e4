// Finds devices without trusting their drivers: each kind is asked in a child process, so that a driver that
// crashes or hangs cannot take this one with it.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// Runs `lister` in a child and returns what it found. Errors: what the lister says; a child that crashed (its
// signal) or took longer than `seconds`, in which case it is killed.
Result<std::vector<ListedDevice>> probe(const std::string& kind, DeviceLister lister, int seconds = 20);

}  // namespace mlc::runtime
