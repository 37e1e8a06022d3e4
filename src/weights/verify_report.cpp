// The verify.json file.
#include "weights/verify_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace mlc::weights {
namespace {

// Of some positions.
struct Sum {
  double count = 0, divergence = 0, worst = 0, same = 0, loss_source = 0, loss_converted = 0;

  double of(double sum) const { return count > 0 ? sum / count : 0; }
  double mean_divergence() const { return of(divergence); }
  double agreement() const { return of(same); }
  double perplexity(double loss) const { return std::exp(of(loss)); }
};

Sum sum_of(std::span<const VerifyPosition> positions) {
  Sum sum;
  for (const VerifyPosition& p : positions) {
    ++sum.count;
    sum.divergence += p.kl_divergence, sum.worst = std::max(sum.worst, p.kl_divergence);
    sum.same += p.same_top;
    sum.loss_source += p.loss_source, sum.loss_converted += p.loss_converted;
  }
  return sum;
}

// The value that a share of them is not above.
double quantile(std::span<const VerifyPosition> positions, double share) {
  std::vector<double> values;
  for (const VerifyPosition& p : positions) values.push_back(p.kl_divergence);
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(at));
  return values[at];
}

std::string table_line(const std::string& label, std::span<const VerifyPosition> positions) {
  const Sum sum = sum_of(positions);
  char line[160];
  std::snprintf(line, sizeof(line), "%14s  %9.5f  %9.5f  %9.5f  %9.4f  %7.2f%%  %11.4f  %11.4f\n",
                label.c_str(), sum.mean_divergence(), quantile(positions, 0.5), quantile(positions, 0.99),
                sum.worst, 100 * sum.agreement(), sum.perplexity(sum.loss_converted),
                sum.perplexity(sum.loss_source));
  return line;
}

}  // namespace

VerifyReport make_verify_report(std::string text, std::vector<VerifyPosition> positions) {
  VerifyReport r;
  r.text = std::move(text);
  r.positions = static_cast<int64_t>(positions.size());
  const Sum all = sum_of(positions);
  r.kl_divergence = all.mean_divergence(), r.kl_divergence_max = all.worst;
  r.top1_agreement = all.agreement();
  r.perplexity_source = all.perplexity(all.loss_source);
  r.perplexity_converted = all.perplexity(all.loss_converted);
  r.by_position = std::move(positions);
  return r;
}

Json verify_json(const VerifyReport& r) {
  return {{"text", r.text},
          {"positions", r.positions},
          {"kl_divergence", r.kl_divergence},
          {"kl_divergence_max", r.kl_divergence_max},
          {"top1_agreement", r.top1_agreement},
          {"perplexity_source", r.perplexity_source},
          {"perplexity_converted", r.perplexity_converted},
          {"activations", r.activations}};
}

Json verify_json_by_position(const VerifyReport& r, const std::string& source, const std::string& converted) {
  Json json = verify_json(r);
  json["source"] = source, json["converted"] = converted;
  Json divergence = Json::array(), same = Json::array(), a = Json::array(), b = Json::array();
  for (const VerifyPosition& p : r.by_position) {
    divergence.push_back(p.kl_divergence), same.push_back(p.same_top);
    a.push_back(p.loss_source), b.push_back(p.loss_converted);
  }
  json["by_position"] = {
      {"kl_divergence", divergence}, {"same_top", same}, {"loss_source", a}, {"loss_converted", b}};
  return json;
}

Status write_verify_report(const std::string& folder, const VerifyReport& r) {
  return write_file(path_join(folder, kVerifyFile), json_text(verify_json(r), 2) + "\n");
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

std::string verify_table(const VerifyReport& r) {
  constexpr size_t kParts = 8;
  const std::span<const VerifyPosition> all = r.by_position;
  if (all.empty()) return "";
  char head[160];
  std::snprintf(head, sizeof(head), "%14s  %9s  %9s  %9s  %9s  %8s  %11s  %11s\n", "positions", "KL mean",
                "median", "p99", "max", "same top", "perplexity", "of source");
  std::string text = head;
  for (size_t i = 0; i < kParts && all.size() >= kParts; ++i) {
    const size_t begin = all.size() * i / kParts, end = all.size() * (i + 1) / kParts;
    text += table_line(str(begin, "-", end - 1), all.subspan(begin, end - begin));
  }
  return text + table_line("all", all);
}

}  // namespace mlc::weights
