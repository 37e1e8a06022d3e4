// Kernels compiled for a CPU variant, linked and loaded: how tests run what the emitter makes. Variants of
// this machine's architecture run in this process, aarch64 ones elsewhere in an emulator (run_calls only).
//
//   NativeKernels native({scale}, target);        // needs missing_cpu_feature(target.required) == ""
//   native.run("scale", {x.data(), y.data()}, {rows}, tiles);
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "base/target/wasm.h"
#include "formats/library.h"
#include "kernel/ir.h"
#include "kernel/shared_layout.h"
#include "lang/llvm/emit.h"
#include "link/link.h"
#include "support/foreign_kernels.h"
#include "support/kernel_call.h"
#include "support/temp_folder.h"

namespace mlc {

// The variants of this machine's architecture that it can run.
inline std::vector<Target> runnable_targets() {
  std::vector<Target> all = host_architecture() == "x86_64" ? x86_64_targets() : aarch64_targets();
  std::erase_if(all, [](const Target& t) { return !missing_cpu_feature(t.required).empty(); });
  return all;
}

// The best of them and, where that has a matrix unit, the best one without: they read prompts in different
// ways.
inline std::vector<Target> best_targets() {
  std::vector<Target> all = runnable_targets(), best = {all.front()};
  auto plain = std::find_if(all.begin(), all.end(), [](const Target& t) { return t.matrix_unit.rows == 0; });
  if (plain != all.begin()) best.push_back(*plain);
  return best;
}

// All of them, the aarch64 variants, elsewhere run in an emulator, and WebAssembly's, run in Node.
inline std::vector<Target> testable_targets() {
  std::vector<Target> all = runnable_targets();
  if (host_architecture() != "aarch64")
    for (Target& t : aarch64_targets()) all.push_back(t);
  for (Target& t : wasm_targets()) all.push_back(t);
  return all;
}

// A library file on disk, loaded with dlopen; the file is removed at once, the code stays until destruction.
class LoadedLibrary {
 public:
  explicit LoadedLibrary(const std::string& bytes, const std::string& symbol = kLibrarySymbol) {
    testing::TempFolder folder;
    std::string path = folder.write("library.so", bytes);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(handle_, nullptr) << dlerror();
    if (handle_) library_ = static_cast<const MlcModelLibrary*>(dlsym(handle_, symbol.c_str()));
    EXPECT_NE(library_, nullptr);
  }
  ~LoadedLibrary() {
    if (handle_) dlclose(handle_);
  }
  LoadedLibrary(const LoadedLibrary&) = delete;
  LoadedLibrary& operator=(const LoadedLibrary&) = delete;
  const MlcModelLibrary& operator*() const { return *library_; }
  const MlcModelLibrary* operator->() const { return library_; }

 private:
  void* handle_ = nullptr;
  const MlcModelLibrary* library_ = nullptr;
};

class NativeKernels {
 public:
  NativeKernels(const std::vector<kernel::Function>& kernels, const Target& target) : kernels_(kernels) {
    link::VariantCode variant;
    for (const kernel::Function& kernel : kernels) {
      variant.objects.push_back(lang::emit_object(kernel, target, {}).object);
      variant.kernel_symbols.push_back(kernel.name);
    }
    Result<std::string> library = link::link_library(
        {.triple = target.triple, .soname = "kernels.so", .manifest = "{}", .variants = {variant}});
    EXPECT_TRUE(library.is_ok()) << library.status().message();
    bytes_ = *library;
    if (target.triple.rfind(host_architecture(), 0) == 0) library_ = std::make_unique<LoadedLibrary>(bytes_);
  }

  // Of this machine's architecture only.
  CpuKernel kernel(const std::string& name) const {
    return reinterpret_cast<CpuKernel>(const_cast<void*>((*library_)->variants[0].kernels[index(name)]));
  }

  // Runs tiles [0, tiles) in pieces of `piece` tiles, last first (kernel_call.h). Of this machine's
  // architecture only.
  void run(const std::string& name, const std::vector<void*>& buffers, const std::vector<int64_t>& dims,
           int64_t tiles, int64_t piece = 3) const {
    run_call(kernel(name), buffers.data(), dims.data(), tiles, piece,
             kernel::shared_layout(kernels_[index(name)]).bytes);
  }

  // Runs calls (KernelCall::kernel = position in the list of kernels) here or in the emulator; sets their
  // scratch size.
  void run_calls(std::vector<KernelCall>& calls) const {
    for (KernelCall& call : calls) call.scratch_bytes = kernel::shared_layout(kernels_[call.kernel]).bytes;
    if (!library_) return run_emulated(bytes_, calls);
    for (KernelCall& call : calls) run_call(kernel(kernels_[call.kernel].name), call);
  }

 private:
  size_t index(const std::string& name) const {
    for (size_t i = 0; i < kernels_.size(); ++i)
      if (kernels_[i].name == name) return i;
    internal_error("no kernel " + name);
  }
  std::vector<kernel::Function> kernels_;
  std::string bytes_;
  std::unique_ptr<LoadedLibrary> library_;
};

}  // namespace mlc
