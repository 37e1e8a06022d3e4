// The ops of attention over a latent on CPUs, against the graph's meaning.
#include "ops/latent_case.h"
#include "support/op_batch.h"

namespace mlc::testing {
namespace {

class Latent : public OpTest {
 protected:
  AddCase add = [this](const std::string& label, const auto& dims) -> OpCase& {
    return batch.add(label, dims);
  };
};

TEST_F(Latent, HeadsMeetTheirMatrices) { add_head_matmuls(add, true); }
TEST_F(Latent, RotationBehindOthers) { add_late_rotations(add); }
TEST_F(Latent, Attention) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) add_latent_attentions(add, dtype);
}
TEST_F(Latent, Appends) {
  for (DType dtype : {DType::kF32, DType::kF16}) add_latent_appends(add, dtype);
}

}  // namespace
}  // namespace mlc::testing
