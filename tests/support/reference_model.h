// A model run by the graph interpreter on a checkpoint's own weights: the reference that compiled models are
// held to.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "frontend/functions.h"
#include "graph/interpret.h"

namespace mlc::testing {

// What weights the reference has.
enum class Storage : uint8_t {
  // Parameters that the scheme does not quantize as the checkpoint has them; the others dequantized into the
  // scheme's dtype.
  kExact,
  // As compiled kernels see the files of convert_weight: parameters that are not quantized in the model's
  // dtype, float32 as
  // bfloat16; the others are code times scale, not rounded again.
  kAsStored,
};

// One parameter from the checkpoint: sources read, transformed, and rounded or quantized and dequantized.
graph::HostTensor load_parameter(const Checkpoint& checkpoint, const frontend::Parameter& parameter,
                                 const QuantScheme& scheme, Storage storage);

// rope_factors of functions.h for rows at these positions in texts of these lengths: the runtime's, which
// tests/models/rope_test.cpp holds to transformers.
graph::HostTensor reference_rope(const frontend::RopeSpec& spec, const std::vector<int32_t>& positions,
                                 const std::vector<int64_t>& text_lengths);

// New tokens of one sequence and where they go.
struct SequenceStep {
  std::vector<int32_t> tokens;
  int32_t start = 0;           // tokens already cached
  std::vector<int32_t> pages;  // of the whole sequence, in order; the first tells its slot
};

class ReferenceModel {
 public:
  // `source`: a folder with config.json and weights, or a GGUF file. Throws std::runtime_error.
  ReferenceModel(const std::string& source, const std::string& scheme, Storage storage, int64_t pages = 16);

  const frontend::ModelConfig& config() const { return config_; }
  const frontend::BuiltModel& built() const { return built_; }

  // Runs `function` on hidden states or ids given by name, with the step's inputs where it lists them.
  graph::HostTensor run(const std::string& function, std::map<std::string, graph::HostTensor> arguments,
                        const std::vector<SequenceStep>& steps = {});
  // embed, then `function`; `logit_positions` as functions.h, ignored by functions without it.
  graph::HostTensor step(const std::string& function, const std::vector<SequenceStep>& steps,
                         std::vector<int32_t> logit_positions = {});
  // And the slots of the sequences whose first pages these are.
  void copy_pages(std::vector<int32_t> sources, std::vector<int32_t> targets);

 private:
  void copy_slots(std::vector<int32_t> sources, std::vector<int32_t> targets);

  frontend::ModelConfig config_;
  frontend::BuiltModel built_;
  std::map<std::string, graph::HostTensor> parameters_;
  std::map<std::string, graph::HostState> states_;
};

// RMS(a - b) / RMS(b) over `count` floats.
double relative_rms(const float* a, const float* b, size_t count);

}  // namespace mlc::testing
