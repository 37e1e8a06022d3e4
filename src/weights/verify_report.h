// How close converted weights are to their source: measured by --verify, stored beside them, shown by
// `mlc_llm info`.
//
// Layout of verify.json: {"text": name, "positions": n, "kl_divergence": nats, "kl_divergence_max": nats,
//                         "top1_agreement": 0..1, "perplexity_source": x, "perplexity_converted": x,
//                         "activations": text}
#pragma once

#include <optional>
#include <string>

#include "base/status.h"

namespace mlc::weights {

constexpr const char* kVerifyFile = "verify.json";

struct VerifyReport {
  std::string text;              // name of the text
  int64_t positions = 0;         // predictions compared
  double kl_divergence = 0;      // mean over positions of KL(source || converted), in nats
  double kl_divergence_max = 0;  // of one position
  double top1_agreement = 0;     // share of positions with the same most likely token
  double perplexity_source = 0, perplexity_converted = 0;  // exp(mean negative log likelihood of the text)
  std::string activations = "float32";                     // what both were computed in
};

Status write_verify_report(const std::string& folder, const VerifyReport& report);
// nullopt when the folder has none.
Result<std::optional<VerifyReport>> read_verify_report(const std::string& folder);
// For people, some lines.
std::string verify_text(const VerifyReport& report);

}  // namespace mlc::weights
