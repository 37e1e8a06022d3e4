// lora_shrink and lora_expand on GPUs, against the graph's meaning.
#include "ops/lora_case.h"
#include "support/gpu_op_test.h"

namespace mlc::testing {
namespace {

class GpuLoras : public Gpu {
 protected:
  AddLora add_case = [this](const std::string& label, const auto& dims) -> OpCase& {
    return add(label, dims);
  };
};

TEST_F(GpuLoras, Shrink) { add_lora_shrinks(add_case); }
TEST_F(GpuLoras, Expand) { add_lora_expands(add_case); }

}  // namespace
}  // namespace mlc::testing
