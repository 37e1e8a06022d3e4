// A WebGPU device for tests: Dawn, Chromium's implementation, in a Node process of its own, over a Vulkan
// driver that runs on this CPU.
#pragma once

#include <string>

namespace mlc {

// Registers the device "webgpu". `source` is the source tree: simulate/webgpu/dawn.mjs is run there on what
// scripts/dawn unpacked. Opening it fails where that, or Node, is missing.
//
// Errors are Dawn's: a module that does not compile (with the line), a dispatch or copy that is not valid. A
// kernel may bind as many buffers as every device grants, not as this one. Bindings whose offset or sharing
// WebGPU does not allow are copied there and back (dawn.mjs, needsOwn).
void register_webgpu_simulator(const std::string& source);

}  // namespace mlc
