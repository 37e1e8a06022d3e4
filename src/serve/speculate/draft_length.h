// How many tokens it pays to propose: from how long steps take and how often proposals were right.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlc::serve {

// The time of a step as a + b * rows, fitted to the steps so far, of which later ones count for more.
class StepCost {
 public:
  // A step of that many rows.
  void put(int64_t rows, double seconds);
  // b / a. Until steps of different sizes were seen, kGuess.
  double row_share() const;
  // A step of that many rows, as fitted; 0 before any was seen.
  double seconds(int64_t rows) const;

 private:
  // a and b; false until steps of different sizes were seen.
  bool fit(double& fixed, double& row) const;
  static constexpr double kGuess = 0.1, kKept = 0.98;  // kKept: a step's weight after the next one
  double steps_ = 0, rows_ = 0, squares_ = 0, seconds_ = 0, products_ = 0;
};

// How often the proposals for one text are right, where few and where many tokens of their past are equal.
class DraftLength {
 public:
  // The number of proposals, at most `most`, that gives most tokens a second where `answers` texts share a
  // step; 0: none pays. equal: tokens of the past (NgramIndex). row_share: StepCost's. draft_share: what it
  // takes to propose one for all answers, as a share of the a of StepCost, or where `at_once` all. After
  // kRetry steps without proposals a few are tried anew.
  int64_t choose(int64_t most, int64_t equal, int64_t answers, double row_share, double draft_share = 0,
                 bool at_once = false);
  // What became of the proposals that were chosen last: `accepted` of them in a row were right.
  void put(int64_t proposed, int64_t accepted);

 private:
  static constexpr double kGain = 1.05;  // below, proposals are not worth their trouble
  static constexpr int64_t kRetry = 32, kProbe = 3;
  static constexpr int64_t kMany = 8;
  // Of proposals after fewer and after at least kMany equal tokens.
  struct Chance {
    double right;      // that a proposal is right if those before it are
    int64_t idle = 0;  // steps without proposals since they were found not to pay
  };
  Chance chances_[2] = {{0.5}, {0.8}};
  size_t chosen_ = 0;
};

}  // namespace mlc::serve
