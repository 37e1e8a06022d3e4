// A device function of kernel IR (kernel/ir.h, verify_device) -> the text of one kernel in a language of the
// C family.
//
// Keeps the order of the IR: statements as they stand, a value that one statement uses twice in a temporary
// before it. The grid loop is the group's number, the thread loop the thread's.
//
//   grid %group_0 = 0, $rows:i32 { thread %thread_1 = 0, 64 { let %v_2 = (%x[%thread_1] * 2:f32)
//   %y[%thread_1] = %v_2 } }
// becomes, in OpenCL C,
//   const int group_0_ = (int)get_group_id(0);
//   const int thread_1_ = (int)get_local_id(0);
//   const float v_2_ = (x_[thread_1_] * 2.0f);
//   y_[thread_1_] = v_2_;
#pragma once

#include <string>

#include "kernel/ir.h"
#include "lang/c/dialect.h"

namespace mlc::lang {

// The dialect's prelude and one kernel. Internal error when the function is no device function.
std::string print_c(const kernel::Function& function, const Dialect& dialect);

}  // namespace mlc::lang
