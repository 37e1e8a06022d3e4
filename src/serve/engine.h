// The engine: requests in, streamed text out, one step at a time (serve/scheduler.h chooses it).
// poll_step() is for hosts with an event loop, which must not wait for a device; step() waits.
#pragma once

#include <memory>
#include <string>

#include "serve/state.h"

namespace mlc::serve {

enum class StepOutcome : uint8_t {
  kIdle,        // nothing is left to do
  kPending,     // the device works
  kProgressed,  // a step is done, its tokens are streamed
};

class Engine {
 public:
  // The model must outlive the engine.
  Engine(runtime::Model& model, std::shared_ptr<const Tokenizer> tokenizer,
         const EngineOptions& options = {});

  // Queues a request. Errors: settings out of range; an empty prompt; a prompt that leaves no room in the
  // context (says how long it is and how long it may be); token ids outside of the vocabulary; an adapter
  // that is not loaded (says which are).
  Status add_request(Request request);
  // What add_request would say, adapters aside. Any thread may ask.
  Status check(const Request& request) const;
  // LoRA adapters by name, for Request::adapter. load: reads a PEFT folder; errors as Adapters::load (the
  // library holds none or no more, the name is taken, an adapter for another base). unload: refused while
  // requests use it, waiting ones included; what is kept of texts that it computed is forgotten.
  Status load_adapter(const std::string& name, const std::string& folder);
  Status unload_adapter(const std::string& name);
  std::vector<std::string> adapters() const { return state_.model.adapters().names(); }

  // Ends a request with kAbort; unknown ids are ignored.
  void abort(RequestId id);
  void abort_all();
  // Begins a step where none is under way, and finishes it where the device is done. Never waits.
  StepOutcome poll_step();
  // Runs one step; false when nothing is left to do.
  bool step();
  // Forgets all kept sequences.
  void reset();

  const EngineMetrics& metrics() const { return state_.metrics; }
  size_t waiting() const { return state_.waiting.size(); }
  size_t running() const { return state_.running.size(); }
  // Of a request that is still known; nullptr once it has finished and its last update was streamed.
  const RequestState* find(RequestId id) const;

 private:
  EngineState state_;
};

}  // namespace mlc::serve
