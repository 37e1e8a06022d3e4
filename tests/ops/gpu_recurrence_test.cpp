// The recurrences over slots and norms of groups on GPUs, against the graph's meaning.
#include "ops/recurrence_case.h"
#include "support/gpu_op_test.h"

namespace mlc::testing {
namespace {

class GpuRecurrences : public Gpu {
 protected:
  AddRecurrence add_case = [this](const std::string& label, const auto& dims) -> OpCase& {
    return add(label, dims);
  };
};

TEST_F(GpuRecurrences, TokenShift) { add_token_shifts(add_case); }
TEST_F(GpuRecurrences, Wkv4) { add_wkv4s(add_case); }
TEST_F(GpuRecurrences, Wkv5) { add_wkv5s(add_case); }
TEST_F(GpuRecurrences, CopySlots) { add_copy_slots(add_case); }
TEST_F(GpuRecurrences, NormsOfGroups) { add_group_norms(add_case); }

}  // namespace
}  // namespace mlc::testing
