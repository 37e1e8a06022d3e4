// The ops of a mixture of experts on GPUs, against the graph's meaning.
#include "kernel/lower/gpu/weight.h"
#include "ops/expert_case.h"
#include "support/gpu_op_test.h"

namespace mlc::testing {
namespace {

WeightFormat group(int bits, DType scale) {
  return {WeightFormat::Kind::kGroup, scale, bits, bits == 3 ? 40 : 32, false};
}

class GpuExperts : public Gpu {
 protected:
  AddCase add_case = [this](const std::string& label, const auto& dims) -> OpCase& {
    return add(label, dims);
  };
  void add_matmul(const ExpertShape& s, const WeightFormat& format, Slots slots, bool gated = false,
                  int64_t max_rows = 0) {
    // Codes are met with their zero point apart, as in gpu_test.cpp.
    add_expert_matmul(add_case, s, {format, format.is_quantized() ? kernel::kLaneLayout : "packed"}, slots,
                      false, gated, max_rows, format.is_quantized() ? 22 : 1);
  }
  void add_all_slots(const WeightFormat& w) {
    add_matmul({1, 2, 4, 64, 96}, w, Slots::kOfRows, true);
    add_matmul({1, 3, 8, 40, 72}, w, Slots::kOwn);
    add_matmul({3, 2, 5, 34, 40}, w, Slots::kOfRows);
    add_matmul({7, 2, 4, 2 * 19, 72}, w, Slots::kGrouped, true, 16);
    add_matmul({20, 2, 3, 96, 64}, w, Slots::kGrouped, true);
    add_matmul({19, 1, 6, 34, 40}, w, Slots::kGrouped);
  }
};

TEST_F(GpuExperts, Route) { add_routes(add_case); }
TEST_F(GpuExperts, GroupsAndSums) { add_groups_and_sums(add_case); }
TEST_F(GpuExperts, PlainWeights) { add_all_slots(WeightFormat::plain(DType::kF16)); }
TEST_F(GpuExperts, Weights) {
  for (int bits : {3, 4}) add_all_slots(group(bits, DType::kF16));
}

}  // namespace
}  // namespace mlc::testing
