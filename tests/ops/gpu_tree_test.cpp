// Attention whose rows are trees on GPUs, against the graph's meaning.
#include "ops/tree_case.h"
#include "support/gpu_op_test.h"

namespace mlc::testing {
namespace {

using GpuTree = Gpu;

TEST_F(GpuTree, OfEveryCacheType) {
  for (DType dtype : {DType::kF32, DType::kF16})
    add_trees([this](const std::string& label, const auto& dims) -> OpCase& { return add(label, dims); },
              dtype);
}

}  // namespace
}  // namespace mlc::testing
