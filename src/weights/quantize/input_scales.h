// mlc_llm calibrate: what the inputs of linears in 8-bit floats would be scaled by, measured on a converted
// model along a text, and their records in a folder.
//
// The original rounds such inputs to 8-bit floats, for devices that multiply them; here they stay floats, so
// these scales change no result of ours. They are for readers that follow the original.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/status.h"
#include "formats/quant/scheme.h"
#include "frontend/config.h"
#include "weights/quantize/stream.h"

namespace mlc::weights {

constexpr const char* kInputScale = "q_calibration_scale";  // of X.weight: X.q_calibration_scale

// By the names of their records.
using InputScales = std::map<std::string, float>;

// Largest magnitudes of the inputs of every linear in 8-bit floats as float8_scale() of a tensor (mlc-facts
// 3.9), of the model in `folder`, f32 throughout. Errors: a scheme without scales for inputs, records that
// are not the model's, inputs that are no finite numbers. `progress`: linears done since the last call; may
// be empty.
Result<InputScales> measure_input_scales(const frontend::ModelConfig& config, const QuantScheme& scheme,
                                         const std::string& folder, const Windows& windows, int threads,
                                         const std::function<void(int64_t)>& progress);
// How many linears that are.
int64_t count_input_scales(const frontend::ModelConfig& config, const QuantScheme& scheme);

// Writes the scales into their records of a folder and the digests into its index: each file complete or not
// at all. Every one of them must have a record there, and every such record a scale.
Status write_input_scales(const std::string& folder, const InputScales& scales);

}  // namespace mlc::weights
