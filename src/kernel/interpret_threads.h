// Inside of the interpreter: runs thread-bound functions, all threads of a group in lockstep, and finds
// races.
#pragma once

#include "kernel/interpret_program.h"

namespace mlc::kernel {

// What happened in a statement, for counting. Accesses come between statements' ends; threads of one subgroup
// that made the k-th access of one site in one statement made it together.
class GroupCounter : public AccessObserver {
 public:
  virtual ~GroupCounter() = default;
  virtual void begin_group() = 0;
  virtual void end_statement() = 0;
  virtual void barrier() = 0;
  // Of the threads that reached a branch or a loop's test (in order), which went on into the body.
  virtual void branch(const std::vector<int>& reached, const std::vector<int>& taken) = 0;
};

// Runs groups [group_begin, group_end) one after the other. `initial`: constants, dims and regions of the
// call.
void run_groups(const Program::Impl& program, const Frame& initial, int64_t group_begin, int64_t group_end,
                GroupCounter* counter);

}  // namespace mlc::kernel
