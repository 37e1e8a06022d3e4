// The interpreter device: kernels are kernel IR, run by kernel/interpret.h, every access checked. It tells a
// wrong kernel from wrong code generation: what differs between it and the CPU device is the emitter's.
//
// Its libraries live in memory: variant kind "interpreter", the kernel table points to kernel::Function
// objects.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "formats/library.h"
#include "plan/build_plan.h"

namespace mlc {

// A model compiled for the interpreter device. Modules made from it (runtime::Module::wrap) must not outlive
// it.
class InterpretedLibrary {
 public:
  // One variant of these kernels, which the plan names in this order: what compile_model (compile.h) gives
  // after its phase `kernel`.
  InterpretedLibrary(const Json& manifest, BuiltPlan built);
  InterpretedLibrary(const InterpretedLibrary&) = delete;
  InterpretedLibrary& operator=(const InterpretedLibrary&) = delete;

  const MlcModelLibrary& operator*() const { return library_; }

 private:
  std::vector<kernel::Function> kernels_;
  std::vector<const void*> table_;
  std::string header_, plan_, manifest_;
  MlcLibraryVariant variant_{};
  MlcModelLibrary library_{};
};

// Makes open_device("interpreter") known; further calls do nothing. Not safe to call from several threads at
// once.
void register_interpreter_device();

}  // namespace mlc
