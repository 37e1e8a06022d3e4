// The LoRA adapters of a loaded model: their matrices lie in stacks beside the weights, each adapter in a
// slot of all stacks. A row of a step names the slot of its adapter (StepSequence::adapter).
//
// How many there can be, and of which rank, is the library's (compile --lora-adapters, --lora-rank). Smaller
// ranks and modules that an adapter leaves alone are zeros; scales are multiplied into B. Values are f32.
#pragma once

#include <string>
#include <vector>

#include "formats/lora.h"
#include "runtime/module.h"

namespace mlc::runtime {

class Adapters {
 public:
  Adapters() = default;
  // `weights`: the addresses of the plan's. Errors: a manifest that contradicts the plan.
  static Result<Adapters> create(const Module& module, const std::vector<DeviceAddress>& weights);

  int64_t capacity() const { return static_cast<int64_t>(names_.size()); }  // 0: the library holds none
  // Of what is loaded, in the order of slots.
  std::vector<std::string> names() const;
  // -1: no adapter has that name.
  int32_t find(std::string_view name) const;

  // Reads a PEFT folder (formats/lora.h) into a free slot. Errors, of which each leaves all as it was: no
  // free slot, a name that is taken, an adapter that the library cannot hold or that was made for another
  // base.
  Result<int32_t> load(const std::string& name, const std::string& folder);
  // Precondition: no running step uses it. Error: unknown name.
  Status unload(std::string_view name);

  // What is loaded, for sentences: "there is none" or "there are: a, b".
  std::string listed() const;

 private:
  struct Part {
    std::string module;
    int64_t columns = 0;
  };
  // Of a linear (the manifest's "lora").
  struct Target {
    std::string name;
    int64_t in = 0, out = 0;
    std::vector<Part> parts;
    std::vector<int64_t> column_sources;  // of each output, its place in the checkpoint
    double scale = 1;
    DeviceAddress a, b;  // stacks [capacity, in, parts * rank], [capacity, rank, out]
  };

  Result<Target> read_target(const Json& json, const Module& module,
                             const std::vector<DeviceAddress>& weights) const;
  Status match(const LoraAdapter& adapter, std::vector<std::vector<const LoraModule*>>& matched) const;
  Status fill(const Target& target, const std::vector<const LoraModule*>& modules, int32_t slot) const;

  Device* device_ = nullptr;
  std::string library_;
  int64_t rank_ = 0;
  std::vector<std::string> names_;  // by slot; "": free
  std::vector<Target> targets_;
};

}  // namespace mlc::runtime
