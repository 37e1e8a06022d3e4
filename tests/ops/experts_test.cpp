// The ops of a mixture of experts on CPUs, against the graph's meaning.
#include "ops/expert_case.h"
#include "support/op_batch.h"

namespace mlc::testing {
namespace {

WeightFormat group(int bits, DType scale) {
  return {WeightFormat::Kind::kGroup, scale, bits, bits == 3 ? 40 : 32, false};
}

class Experts : public OpTest {
 protected:
  AddCase add = [this](const std::string& label, const auto& dims) -> OpCase& {
    return batch.add(label, dims);
  };
  void add_all_slots(const ExpertWeight& w, bool codes) {
    add_expert_matmul(add, {1, 2, 4, 48, 96}, w, Slots::kOfRows, codes, true);
    add_expert_matmul(add, {1, 3, 8, 33, 72}, w, Slots::kOwn, codes);
    add_expert_matmul(add, {3, 2, 5, 40, 100}, w, Slots::kOfRows, codes);
    add_expert_matmul(add, {7, 2, 4, 2 * 19, 72}, w, Slots::kGrouped, codes, true, 16);
    add_expert_matmul(add, {16, 2, 4, 64, 64}, w, Slots::kGrouped, codes, false, 16);
    add_expert_matmul(add, {40, 2, 3, 48, 96}, w, Slots::kGrouped, codes, true);
    add_expert_matmul(add, {19, 1, 6, 33, 40}, w, Slots::kGrouped, codes);
  }
};

TEST_F(Experts, Route) { add_routes(add); }
TEST_F(Experts, GroupsAndSums) { add_groups_and_sums(add); }
TEST_F(Experts, PlainWeights) { add_all_slots({WeightFormat::plain(DType::kF16)}, false); }
TEST_F(Experts, PackedWeights) {
  for (int bits : {3, 4}) add_all_slots({group(bits, DType::kF16)}, false);
}
TEST_F(Experts, TiledWeights) { add_all_slots({group(4, DType::kBF16), "tile8"}, false); }
TEST_F(Experts, CodesAndTilesOf8) {
  for (int bits : {3, 4}) add_all_slots({group(bits, DType::kF16), "tile8"}, true);
}
TEST_F(Experts, CodesAndTilesOf16) {
  for (int bits : {3, 4}) add_all_slots({group(bits, DType::kF16), "tile16"}, true);
}

// Several blocks of rows of one expert, several chunks of K.
TEST_F(Experts, ManyRowsOfOneExpert) {
  add_expert_matmul(add, {130, 1, 2, 17, 5600}, {group(4, DType::kF16), "tile16"}, Slots::kGrouped, true);
}

TEST_F(Experts, RowsOfCodesAreTaken) {
  for (std::string codes : {"q8g32", "q8g40"}) {
    OpCase& c = batch.add("take of " + codes, {{"rows", 5}});
    std::mt19937 random(3);
    graph::Value* x = c.matrix(Dim::symbol("rows"), 100, random_floats(500, 2, random));
    x = c.g->op("quantize_q8", {x}, {{"output", codes}})[0];
    c.evaluate_last();
    c.g->take(x, c.indices(Dim::symbol("rows"), {4, 0, 0, 3, 1}));
  }
}

}  // namespace
}  // namespace mlc::testing
