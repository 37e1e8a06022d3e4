// Weighs the time of more rows against the tokens that they may give.
#include "serve/speculate/draft_length.h"

#include <algorithm>

namespace mlc::serve {

void StepCost::put(int64_t rows, double seconds) {
  const auto r = static_cast<double>(rows);
  for (double* sum : {&steps_, &rows_, &squares_, &seconds_, &products_}) *sum *= kKept;
  steps_ += 1;
  rows_ += r;
  squares_ += r * r;
  seconds_ += seconds;
  products_ += r * seconds;
}

bool StepCost::fit(double& fixed, double& row) const {
  const double spread = steps_ * squares_ - rows_ * rows_;  // steps^2 times the variance of rows
  if (spread <= 0.5 * steps_ * steps_) return false;
  row = (steps_ * products_ - rows_ * seconds_) / spread;
  fixed = (seconds_ - row * rows_) / steps_;
  return true;
}

double StepCost::row_share() const {
  double a = 0, b = 0;
  if (!fit(a, b)) return kGuess;
  if (b <= 0) return 0;
  return a <= 0 ? 1e9 : b / a;
}

double StepCost::seconds(int64_t rows) const {
  if (steps_ == 0) return 0;
  double a = 0, b = 0;
  if (fit(a, b) && a > 0 && b >= 0) return a + b * static_cast<double>(rows);
  return seconds_ / steps_ * (1 + kGuess * static_cast<double>(rows)) / (1 + kGuess * rows_ / steps_);
}

int64_t DraftLength::choose(int64_t most, int64_t equal, int64_t answers, double row_share,
                            double draft_share, bool at_once) {
  chosen_ = equal >= kMany ? 1 : 0;
  Chance& now = chances_[chosen_];
  // A text's part of a step: 1 / answers of what does not depend on rows, and its own rows.
  const double fixed = 1 / static_cast<double>(answers);
  double best = kGain / (fixed + row_share), chance = 1, tokens = 1;
  int64_t length = 0;
  for (int64_t n = 1; n <= most; ++n) {
    chance *= now.right;
    tokens += chance;
    const auto proposals = static_cast<double>(n);
    const double drafts = draft_share * (at_once ? 1 : proposals);
    const double speed = tokens / (fixed * (1 + drafts) + row_share * (1 + proposals));
    if (speed > best) best = speed, length = n;
  }
  if (length > 0) return length;
  return ++now.idle < kRetry ? 0 : std::min(most, kProbe);
}

void DraftLength::put(int64_t proposed, int64_t accepted) {
  Chance& now = chances_[chosen_];
  now.idle = 0;
  // Each proposal up to the first wrong one is an observation; an old one weighs 0.9 of the next.
  for (int64_t i = 0; i < std::min(proposed, accepted + 1); ++i)
    now.right += 0.1 * ((i < accepted ? 1.0 : 0.0) - now.right);
}

}  // namespace mlc::serve
