// Runs the source model over a calibration text and chooses codes and scales by what its activations are.
//
// good: one pass over a part of the text gathers the mean square of each linear's inputs, which weigh the
// squared errors of its weights in the search for scales (formats as chosen_rows.h says). best: then layer by
// layer, beside the source's activations those of the model quantized so far: each linear is to give the
// source's outputs from the quantized model's inputs (half of that correction is made), and its rounding
// errors are fed back along its inputs (GPTQ, arXiv:2210.17323). The final linear and embeddings keep good's
// rule: errors there are no input of anything. docs/quality.md has what was measured.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "frontend/config.h"
#include "weights/plan.h"
#include "weights/quantize/chosen_rows.h"
#include "weights/quantize/stream.h"

namespace mlc::weights {

enum class Quantizer : uint8_t { kMlc, kGood, kBest };

// "mlc", "good" or "best"; an error of flag --quantizer lists them.
Result<Quantizer> parse_quantizer(const std::string& name);
std::string name_of(Quantizer quantizer);

// Of models whose user has not named one: good up to kGoodParameters, for they lose most to 4 bits and are
// read in seconds to minutes; mlc above, and where no codes are to be chosen.
constexpr int64_t kGoodParameters = 3'000'000'000;
Quantizer quantizer_by_size(const Plan& plan);
// Whether a scheme has codes to choose, in some weights at least; the error of --quantizer says that it has
// none.
Status check_choosable(const QuantScheme& scheme);

struct CalibrateOptions {
  Quantizer quantizer = Quantizer::kGood;  // not kMlc
  int threads = 1;
  std::string folder;       // the output's: best keeps there what it has chosen
  std::string fingerprint;  // of all that the choice depends on
  // Called with bytes of f32 weights gone through since the last call; calibrate_bytes() is the total. May be
  // empty.
  std::function<void(int64_t)> progress;
};

// Of f32 weights that both passes go through.
int64_t calibrate_bytes(const Plan& plan, Quantizer quantizer);

// `plan` and `checkpoint` are those of the conversion, not split for ranks. Errors: a scheme that has nothing
// to choose.
Result<std::unique_ptr<ChosenRows>> calibrate(const frontend::ModelConfig& config, const Plan& plan,
                                              const Checkpoint& checkpoint, const Windows& windows,
                                              const CalibrateOptions& options);

}  // namespace mlc::weights
