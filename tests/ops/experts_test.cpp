// The ops of a mixture of experts on CPUs, against the graph's meaning; and that the weights of experts that
// are not chosen are left alone.
#include <sys/mman.h>

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

// Bytes of which pages can be made unreadable.
class Pages {
 public:
  static constexpr size_t kPage = 4096;
  explicit Pages(const Bytes& bytes) : size_(bytes.size()) {
    void* at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("no memory");
    data_ = static_cast<uint8_t*>(at);
    std::copy(bytes.begin(), bytes.end(), data_);
  }
  Pages(const Pages&) = delete;
  ~Pages() { munmap(data_, size_); }
  void close(size_t begin, size_t end) { mprotect(data_ + begin, end - begin, PROT_NONE); }
  uint8_t* data() { return data_; }

 private:
  size_t size_;
  uint8_t* data_;
};

// One byte of another expert's would end the process: 4 experts of 64 x 2048 have 64 KiB of codes and, behind
// all codes, 8 KiB of scales each.
TEST(ExpertBytes, OnlyThoseOfChosenExpertsAreRead) {
  constexpr size_t kExperts = 4, kRows = 64, kColumns = 2048, kCodes = kRows * kColumns / 2,
                   kScales = kRows * kColumns / 32 * 2;
  static_assert(kCodes % Pages::kPage == 0 && kScales % Pages::kPage == 0);
  for (bool grouped : {false, true})
    for (const Target& target : x86_64_targets()) {
      OpCase c({{"rows", 1}});
      const std::string layout = graph::row_tiles_layout(target.f32_lanes() >= 16 ? 16 : 8);
      add_expert_matmul([&](const std::string&, const auto&) -> OpCase& { return c; },
                        {1, 2, kExperts, kRows, kColumns}, {group(4, DType::kF16), layout},
                        grouped ? Slots::kGrouped : Slots::kOfRows, true, true);  // experts 0 and 1
      kernel::Function f = c.lower(target);
      std::vector<Bytes> memory = c.memory();
      ASSERT_EQ(memory[1].size(), kExperts * (kCodes + kScales));
      Pages weight(memory[1]);
      weight.close(2 * kCodes, kExperts * kCodes);
      weight.close(kExperts * kCodes + 2 * kScales, kExperts * (kCodes + kScales));
      std::vector<kernel::HostBuffer> buffers;
      for (Bytes& b : memory) buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
      buffers[1].data = weight.data();
      kernel::interpret(f, buffers, c.dims(f));
      EXPECT_EQ(c.difference(memory), "") << target.name;
    }
}

}  // namespace
}  // namespace mlc::testing
