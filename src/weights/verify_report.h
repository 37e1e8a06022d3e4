// How close two models are: measured by --verify and `mlc_llm verify`; of converted weights stored beside
// them and shown by `mlc_llm info`.
//
// Layout of verify.json: {"text": name, "positions": n, "kl_divergence": nats, "kl_divergence_max": nats,
//                         "top1_agreement": 0..1, "perplexity_source": x, "perplexity_converted": x,
//                         "activations": text}
// `mlc_llm verify --json` writes the same and, behind it, "source" and "converted" (what was compared) and
// "by_position": {"kl_divergence": [nats...], "same_top": [bool...], "loss_source": [nats...],
//                 "loss_converted": [nats...]}.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace mlc::weights {

constexpr const char* kVerifyFile = "verify.json";
constexpr const char* kVerifyPicture = "verify.png";

// One prediction.
struct VerifyPosition {
  double kl_divergence = 0;                    // KL(source || converted), in nats
  bool same_top = false;                       // the most likely token is the same
  double loss_source = 0, loss_converted = 0;  // negative log likelihood of the token that follows
};

struct VerifyReport {
  std::string text;              // name of the text
  int64_t positions = 0;         // predictions compared
  double kl_divergence = 0;      // mean over positions of KL(source || converted), in nats
  double kl_divergence_max = 0;  // of one position
  double top1_agreement = 0;     // share of positions with the same most likely token
  double perplexity_source = 0, perplexity_converted = 0;  // exp(mean negative log likelihood of the text)
  std::string activations = "float32";                     // what both were computed in
  std::vector<VerifyPosition> by_position = {};            // in the text's order; not stored
};

// All figures follow from the positions.
VerifyReport make_verify_report(std::string text, std::vector<VerifyPosition> positions);

Status write_verify_report(const std::string& folder, const VerifyReport& report);
// nullopt when the folder has none.
Result<std::optional<VerifyReport>> read_verify_report(const std::string& folder);
// The content of verify.json.
Json verify_json(const VerifyReport& report);
// That, and all positions of the comparison of two models.
Json verify_json_by_position(const VerifyReport& report, const std::string& source,
                             const std::string& converted);
// For people, some lines.
std::string verify_text(const VerifyReport& report);
// Along the text, in eight parts of as many positions each, and all: a table of some lines.
std::string verify_table(const VerifyReport& report);

}  // namespace mlc::weights
