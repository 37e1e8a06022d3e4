// The verify.json file.
#include "weights/verify_report.h"

#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace mlc::weights {

Status write_verify_report(const std::string& folder, const VerifyReport& r) {
  Json json = {{"text", r.text},
               {"positions", r.positions},
               {"kl_divergence", r.kl_divergence},
               {"kl_divergence_max", r.kl_divergence_max},
               {"top1_agreement", r.top1_agreement},
               {"perplexity_source", r.perplexity_source},
               {"perplexity_converted", r.perplexity_converted},
               {"activations", r.activations}};
  return write_file(path_join(folder, kVerifyFile), json_text(json, 2) + "\n");
}

Result<std::optional<VerifyReport>> read_verify_report(const std::string& folder) {
  std::string path = path_join(folder, kVerifyFile);
  if (!file_exists(path)) return std::optional<VerifyReport>();
  ASSIGN_OR_RETURN(Json json, read_json_file(path));
  VerifyReport r;
  r.text = find_string(json, "text").value_or("");
  r.activations = find_string(json, "activations").value_or("");
  ASSIGN_OR_RETURN(r.positions, get_int(json, "positions", path));
  ASSIGN_OR_RETURN(r.kl_divergence, get_number(json, "kl_divergence", path));
  ASSIGN_OR_RETURN(r.kl_divergence_max, get_number(json, "kl_divergence_max", path));
  ASSIGN_OR_RETURN(r.top1_agreement, get_number(json, "top1_agreement", path));
  ASSIGN_OR_RETURN(r.perplexity_source, get_number(json, "perplexity_source", path));
  ASSIGN_OR_RETURN(r.perplexity_converted, get_number(json, "perplexity_converted", path));
  return std::optional<VerifyReport>(r);
}

std::string verify_text(const VerifyReport& r) {
  char line[512];
  std::snprintf(line, sizeof(line),
                "verified         %lld positions of %.60s, activations %.40s\n"
                "  KL divergence  %.5f nats on average, %.4f at most\n"
                "  top-1          %.2f%% the same\n"
                "  perplexity     %.4f, source %.4f\n",
                static_cast<long long>(r.positions), r.text.c_str(), r.activations.c_str(), r.kl_divergence,
                r.kl_divergence_max, 100 * r.top1_agreement, r.perplexity_converted, r.perplexity_source);
  return line;
}

}  // namespace mlc::weights
