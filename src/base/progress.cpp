// The progress bar: one line, redrawn in place with a carriage return.
#include "base/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr int kBarCells = 30;
constexpr double kSettled = 2;  // seconds after which speed tells how long the rest takes

// "42 s left", "3 min left"; "" before that can be said.
std::string time_left(double part, double seconds) {
  if (seconds < kSettled || part <= 0 || part >= 1) return "";
  const double left = seconds * (1 - part) / part;
  return left < 99.5 ? str("  ", std::lround(left), " s left")
                     : str("  ", std::lround(left / 60), " min left");
}
constexpr std::chrono::milliseconds kBetweenDrawings{100};

}  // namespace

Progress::Progress(std::string label, int64_t total)
    : label_(std::move(label)),
      total_(total),
      shown_(total > 0 && platform::is_terminal(2)),
      start_(std::chrono::steady_clock::now()),
      drawn_(start_) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

std::string Progress::line(const std::string& label, int64_t done, int64_t total, double seconds) {
  double part =
      total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 1.0;
  size_t filled = static_cast<size_t>(part * kBarCells);
  std::string percent = std::to_string(static_cast<int>(part * 100));
  std::string speed = seconds > 0 ? human_bytes(static_cast<double>(done) / seconds) + "/s" : "";
  return str(label, "  [", std::string(filled, '#'), std::string(kBarCells - filled, ' '), "] ",
             std::string(3 - std::min<size_t>(3, percent.size()), ' '), percent, "%  ",
             human_bytes(static_cast<double>(done)), " of ", human_bytes(static_cast<double>(total)), "  ",
             speed, time_left(part, seconds));
}

void Progress::add(int64_t bytes) {
  int64_t done = done_.fetch_add(bytes) + bytes;
  if (!shown_) return;
  if (drawing_.test_and_set()) return;
  auto now = std::chrono::steady_clock::now();
  if (now - drawn_ >= kBetweenDrawings) {
    drawn_ = now;
    double seconds = std::chrono::duration<double>(now - start_).count();
    std::fputs(str("\r\033[K", line(label_, done, total_, seconds)).c_str(), stderr);
    std::fflush(stderr);
  }
  drawing_.clear();
}

}  // namespace mlc
