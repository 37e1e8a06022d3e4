// The loop: tasks, then a step, then sleep where nothing is left.
#include "service/step_thread.h"

namespace mlc::serve {

StepThread::StepThread(std::function<bool()> step, Task abort_all)
    : step_(std::move(step)), abort_all_(std::move(abort_all)), thread_([this] { run(); }) {}

StepThread::~StepThread() {
  {
    std::lock_guard lock(mutex_);
    closed_ = stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool StepThread::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
    busy_ = true;
  }
  wake_.notify_one();
  return true;
}

void StepThread::shutdown(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  idle_.wait_for(lock, patience, [this] { return !busy_; });
  stop_ = true;
  wake_.notify_one();
  idle_.wait(lock, [this] { return !busy_; });
}

void StepThread::run() {
  bool work = false;  // a step may have something to do
  for (;;) {
    std::vector<Task> tasks;
    bool stop = false;
    {
      std::unique_lock lock(mutex_);
      if (!work && tasks_.empty()) {
        busy_ = false;
        idle_.notify_all();
      }
      wake_.wait(lock, [&] { return work || stop_ || !tasks_.empty(); });
      tasks.swap(tasks_);
      stop = stop_;
      busy_ = true;
    }
    for (Task& task : tasks) task();
    if (stop) abort_all_();
    work = step_();
    if (stop && !work) break;
  }
  std::lock_guard lock(mutex_);
  busy_ = false;
  idle_.notify_all();
}

}  // namespace mlc::serve
