// The ops of attention over a latent on GPUs, against the graph's meaning.
#include "ops/latent_case.h"
#include "support/gpu_op_test.h"

namespace mlc::testing {
namespace {

class GpuLatent : public Gpu {
 protected:
  AddCase add_case = [this](const std::string& label, const auto& dims) -> OpCase& {
    return add(label, dims);
  };
};

TEST_F(GpuLatent, HeadsMeetTheirMatrices) { add_head_matmuls(add_case, true); }
TEST_F(GpuLatent, RotationBehindOthers) { add_late_rotations(add_case); }
TEST_F(GpuLatent, Attention) {
  for (DType dtype : {DType::kF32, DType::kF16}) add_latent_attentions(add_case, dtype);
}
TEST_F(GpuLatent, Appends) {
  for (DType dtype : {DType::kF32, DType::kF16}) add_latent_appends(add_case, dtype);
}

}  // namespace
}  // namespace mlc::testing
