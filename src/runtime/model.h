// A model ready to run: library, weights, states and rope tables on one device, stepped by ragged batches
// of tokens.
//
// A step is begun and polled, so that a host with an event loop never waits; step() and step_and_sample() do
// both and the waiting.
//
// Memory is a plan: memory_plan() says what load() will take before it takes it, and nothing grows
// afterwards. Threads: one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/draw.h"
#include "runtime/adapters.h"
#include "runtime/executor.h"
#include "runtime/limits.h"
#include "runtime/sequences/sequence_store.h"
#include "runtime/sequences/state_memory.h"
#include "runtime/step_inputs.h"
#include "runtime/weights.h"

namespace mlc::runtime {

struct MemoryPlan {
  // Bytes. tables: factors of positions, on the host; what of them no position asked for is not touched.
  int64_t weights = 0, states = 0, arena = 0, inputs = 0, tables = 0;
  int64_t total() const { return weights + states + arena + inputs + tables; }
  std::string text() const;  // "weights 76.0 MB + kv cache 94.4 MB (2048 tokens) + ..."
  StateMemory state;
  std::string state_text;  // "kv cache 94.4 MB (2048 tokens)"
};

enum class WantLogits : uint8_t {
  kNone,           // a chunk that is not the prompt's last
  kLast,           // of the last new tokens of each sequence that wants them: [wanted, vocab]
  kLastAndHidden,  // as kLast, and in StepResult::hidden these rows' last hidden states: [wanted, hidden];
                   // precondition: ModelLimits::hidden_states
  kAll,            // of every new token: [rows, vocab]
  kHiddenStates,   // none, but the last hidden states of every new token: [rows, hidden]
};

// What a step gave; the spans live until the next one begins.
struct StepResult {
  std::span<const float> logits;  // or hidden states
  std::span<const float> hidden;
  std::span<const int32_t> tokens;  // that the device drew, in the order of the wanted rows
};

class Model {
 public:
  // Errors: weights that do not fit the library (names the tensor), not enough memory (needed, available,
  // which flag lowers it), limits beyond the library's.
  static Result<std::unique_ptr<Model>> load(Device& device, std::shared_ptr<Module> module,
                                             const std::string& weights_folder, const ModelLimits& limits,
                                             const LoadProgress& progress = {});
  static Result<MemoryPlan> plan_memory(const Module& module, const ModelLimits& limits);

  const Json& manifest() const { return executor_->module().manifest(); }
  const MemoryPlan& memory() const { return memory_; }
  int64_t vocab_size() const { return vocab_size_; }
  int64_t hidden_size() const { return hidden_size_; }
  // The first of the functions that kLastAndHidden calls, of trees too, which the library lacks; "": none.
  static std::string lacks_for_hidden_states(const Plan& plan, bool trees);
  // Whether proposed tokens may be a tree: the library was compiled so.
  bool verifies_trees() const { return step_inputs_.verifies_trees(); }
  // It reads each text whole, in one step, and gives kHiddenStates only.
  bool is_encoder() const { return step_inputs_.bidirectional(); }
  // It gives kHiddenStates to make embeddings of, and no logits: an encoder, or a decoder for that.
  bool gives_embeddings() const {
    return is_encoder() || find_string(manifest(), "model_task") == "embedding";
  }
  int64_t max_sequences() const { return limits_.max_sequences; }
  int64_t context_tokens() const { return limits_.context_tokens; }  // INT64_MAX with a sliding window
  const SlidingWindow& window() const { return window_; }
  int64_t prefill_chunk() const { return limits_.prefill_chunk; }
  int64_t max_wanted() const { return limits_.max_wanted; }
  bool deterministic() const { return limits_.deterministic; }
  // What it remembers of each text.
  SequenceStore& sequences() { return *sequences_; }
  const SequenceStore& sequences() const { return *sequences_; }

  // The LoRA adapters that steps may name. One must not be loaded or unloaded while a step uses its slot.
  Adapters& adapters() { return adapters_; }
  const Adapters& adapters() const { return adapters_; }

  // Begins to run the new tokens of the sequences (each known to the store, each with at least one token, at
  // most prefill_chunk rows in all, of which max_wanted() want logits). With settings, one for each row that
  // wants logits (kLast), the device draws their next tokens, and only these are read back: precondition
  // samples(). Precondition: no step is running. After it all but proposed tokens are part of their texts.
  // Errors: no room for the tokens; then nothing has changed.
  Status begin_step(std::span<const StepSequence> sequences, WantLogits want,
                    std::span<const DrawSettings> settings = {});
  // Whether the step is done; then result() is what it gave. Never waits.
  Result<bool> poll_step();
  // Waits until poll_step() will have news. An error ends the step.
  Status wait();
  const StepResult& result() const { return result_; }

  // begin_step(), all the polling and the result.
  Result<std::span<const float>> step(std::span<const StepSequence> sequences, WantLogits want);
  const DeviceProperties& device() const { return device_->properties; }
  // Whether the library can sample on the device and its logits would have to be copied from there.
  bool samples() const { return samples_; }
  Result<std::span<const int32_t>> step_and_sample(std::span<const StepSequence> sequences,
                                                   std::span<const DrawSettings> settings);

 private:
  Model() = default;
  Status resolve_limits(const ModelLimits& limits);
  Status fit_bindings();
  Status allocate();
  Status allocate_inputs();
  Status allocate_states();
  Status clear_empty_slot(const PlanState& state, int64_t layer_bytes, DeviceAddress slots);
  Status copy_states();
  Status copy(const std::string& function, const char* of, std::vector<StateCopy>& copies);
  Result<std::span<const DeviceAddress>> bind(std::string_view function);
  Status add_call(std::string_view function, const Dims& dims, const DeviceAddress* result);
  Status add_logits(int64_t rows);
  Status make_room_for_logits(int64_t rows);
  Status add_selected_logits(const Dims& dims);
  struct StepShape {
    int64_t rows = 0, wanted = 0;
    bool tree = false;
  };
  StepShape check_step(std::span<const StepSequence> sequences) const;
  Status run_step(std::span<const StepSequence> sequences, WantLogits want,
                  std::span<const DrawSettings> settings);
  Status finish_step();
  Result<const StepResult*> wait_for_step();
  Status upload(std::string_view name, std::span<const std::byte> bytes);

  Device* device_ = nullptr;
  std::unique_ptr<WeightBuffers> weights_;
  Adapters adapters_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<SequenceStore> sequences_;
  ModelLimits limits_;
  SlidingWindow window_;
  MemoryPlan memory_;
  int64_t vocab_size_ = 0, hidden_size_ = 0;
  StepInputs step_inputs_;
  std::map<std::string, OwnedBuffer, std::less<>> inputs_;  // the other arguments, by name
  OwnedBuffer embeds_, logits_, tokens_, selected_;
  std::vector<OwnedBuffer> states_;
  DeviceAddress embeds_address_, logits_address_, tokens_address_, selected_address_;
  std::map<std::string, std::vector<DeviceAddress>, std::less<>>
      bindings_;                                    // arguments of a function, once it was called
  std::vector<FunctionCall> calls_;                 // of the running step
  std::vector<std::vector<DeviceAddress>> pieces_;  // what its add_logits() binds
  bool samples_ = false, stepping_ = false, drawing_ = false;
  bool reads_hidden_ = false;        // of the running step: they are still to be asked for
  std::vector<SequenceId> stepped_;  // sequences of the running step that end it
  std::vector<float> host_logits_, host_hidden_;
  std::vector<int32_t> host_tokens_;
  StepResult result_;
};

}  // namespace mlc::runtime
