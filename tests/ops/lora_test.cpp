// lora_shrink and lora_expand against the graph's meaning.
#include "ops/lora_case.h"
#include "support/op_batch.h"

namespace mlc::testing {
namespace {

class Loras : public OpTest {
 protected:
  AddLora add = [this](const std::string& label, const auto& dims) -> OpCase& {
    return batch.add(label, dims);
  };
};

TEST_F(Loras, Shrink) { add_lora_shrinks(add); }
TEST_F(Loras, Expand) { add_lora_expands(add); }

}  // namespace
}  // namespace mlc::testing
