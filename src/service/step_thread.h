// A thread that steps something while it has work: any thread hands tasks in, which run between two steps.
// With nothing to do it sleeps.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mlc::serve {

class StepThread {
 public:
  using Task = std::function<void()>;

  // All three run on the thread alone. `step`: false when there is nothing left to do until the next task;
  // `abort_all`: ends what there is to do. What they use must outlive this.
  StepThread(std::function<bool()> step, Task abort_all);
  // Ends what still runs.
  ~StepThread();

  // Runs `task` between two steps, in the order of the calls. False after shutdown() or once this is being
  // destroyed: then it never runs.
  bool post(Task task);
  // Refuses new tasks, waits until there is nothing to do, and ends what still runs after `patience`.
  void shutdown(std::chrono::milliseconds patience);

 private:
  void run();

  std::function<bool()> step_;
  Task abort_all_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<Task> tasks_;
  bool closed_ = false, stop_ = false, busy_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace mlc::serve
