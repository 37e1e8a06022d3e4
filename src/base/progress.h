// A one-line progress bar on stderr, drawn only where stderr is a terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace mlc {

class Progress {
 public:
  // `total` is in bytes. Nothing is drawn unless stderr is a terminal and total > 0.
  Progress(std::string label, int64_t total);
  // Clears the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `bytes` more are done. Any thread; draws at most ten times a second.
  void add(int64_t bytes);

  // The line for `done` of `total` after `seconds`: "converting  [#####     ]  50%  1.2 GB of 2.4 GB  300.0
  // MB/s".
  static std::string line(const std::string& label, int64_t done, int64_t total, double seconds);

 private:
  std::string label_;
  int64_t total_;
  bool shown_;
  std::atomic<int64_t> done_{0};
  std::chrono::steady_clock::time_point start_, drawn_;
  std::atomic_flag drawing_;
};

}  // namespace mlc
