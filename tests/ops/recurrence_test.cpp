// token_shift, wkv4, wkv5, copy_slots and norms of groups, against the graph's meaning.
#include "ops/recurrence_case.h"
#include "support/op_batch.h"

namespace mlc::testing {
namespace {

class Recurrences : public OpTest {
 protected:
  AddRecurrence add = [this](const std::string& label, const auto& dims) -> OpCase& {
    return batch.add(label, dims);
  };
};

TEST_F(Recurrences, TokenShift) { add_token_shifts(add); }
TEST_F(Recurrences, Wkv4) { add_wkv4s(add); }
TEST_F(Recurrences, Wkv5) { add_wkv5s(add); }
TEST_F(Recurrences, CopySlots) { add_copy_slots(add); }
TEST_F(Recurrences, NormsOfGroups) { add_group_norms(add); }

}  // namespace
}  // namespace mlc::testing
