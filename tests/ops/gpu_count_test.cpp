// What GPU kernels do to memory, counted by the interpreter: bytes moved against the least possible, whole
// sectors, banks, barriers. And how many kernels a decode step of a layer is.
#include <set>

#include "kernel/count.h"
#include "kernel/lower/gpu/weight.h"
#include "ops/expert_case.h"
#include "support/gpu_devices.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

using kernel::BufferCount;
using kernel::KernelCount;
const Dim kRows = Dim::symbol("rows");
const WeightFormat kQ4{WeightFormat::Kind::kGroup, DType::kF16, 4, 32, false};

const std::vector<std::string> kClasses = {"vulkan-nvidia",   "vulkan-amd",    "vulkan-apple",
                                           "vulkan-intel",    "vulkan-adreno", "vulkan-mali",
                                           "vulkan-software", "opencl-adreno"};

Target target_of(const std::string& device) { return class_target(device); }

KernelCount count_case(const OpCase& op, const Target& target) {
  kernel::Function f = op.lower(target);
  std::vector<Bytes> memory = op.memory();
  std::vector<kernel::HostBuffer> buffers;
  for (Bytes& b : memory) {
    b.resize((b.size() + 3) / 4 * 4);
    buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
  }
  return kernel::count(f, buffers, op.dims(f));
}

double used(const BufferCount& b) { return double(b.fetched_used) / double(b.fetched); }

void add_matmul(OpCase& c, int64_t rows, int64_t n, int64_t k, bool norms = false) {
  std::mt19937 random(1);
  graph::Value* x = c.matrix(kRows, k, random_floats(rows * k, 1, random));
  graph::Value* w = c.quantized(kQ4, kernel::kLaneLayout, n, k, random_floats(n * k, 1, random));
  if (norms)
    c.g->op("matmul", {x, w, c.parameter(DType::kF16, {k}, random_floats(k, 1, random))},
            {{"norm", "rms_norm"}, {"eps", 1e-5}});
  else
    c.g->matmul(x, w);
  if (rows == 1) c.options.min_rows = c.options.max_rows = 1;
}

TEST(GpuCount, MatvecReadsTheWeightOnceInWholeSectors) {
  for (const std::string& device : kClasses) {
    for (int64_t k : {512, 576}) {  // 18 groups are no multiple of the slices
      OpCase c({{"rows", 1}});
      add_matmul(c, 1, 256, k);
      KernelCount count = count_case(c, target_of(device));
      double ideal = 256 * double(k) * 4.5 / 8;  // four bits a code and a half a group of 32
      EXPECT_LE(double(count.find("weight").fetched), 1.02 * ideal) << device;
      EXPECT_GE(double(count.find("weight").fetched), ideal) << device << ": all of it is needed";
      EXPECT_GE(used(count.find("weight")), 0.95) << device;
      EXPECT_EQ(count.conflicts(), 0) << device;
    }
  }
}

// What a group reads beside its weights stays in caches: x and the norm's weight, once each. Its memory
// leaves room for a second group.
TEST(GpuCount, MatvecThatNormsReadsTheWeightOnceTooAndFits) {
  for (const std::string& device : kClasses) {
    const Target target = target_of(device);
    constexpr int64_t kColumns = 1024;  // a vector for each of the most threads
    if (kernel::fused_norm_bytes(target) == 0) continue;
    ASSERT_LE(kColumns * 4, kernel::fused_norm_bytes(target)) << device;
    OpCase c({{"rows", 1}}), without({{"rows", 1}});
    add_matmul(c, 1, 256, kColumns, true), add_matmul(without, 1, 256, kColumns);
    const KernelCount count = count_case(c, target), before = count_case(without, target);
    const int64_t subgroups = count.threads / (target.subgroup_size ? target.subgroup_size : 32);
    EXPECT_EQ(count.find("weight").fetched, before.find("weight").fetched) << device;
    EXPECT_EQ(count.find("x").fetched, count.groups * kColumns * 4) << device;
    EXPECT_EQ(count.find("norm_weight").fetched, count.groups * kColumns * 2) << device;
    EXPECT_EQ(count.conflicts(), 0) << device;
    EXPECT_LE(count.barriers - before.barriers, count.groups * (target.subgroup_size ? 2 : 4)) << device;
    EXPECT_LE(count.divergent - before.divergent, count.groups * subgroups)
        << device << ": lanes part where the first one stores its subgroup's sum";
    EXPECT_LE(2 * c.lower(target).scratch_bytes, target.shared_bytes) << device;
    OpCase widest({{"rows", 1}});
    add_matmul(widest, 1, 64, kernel::fused_norm_bytes(target) / 4, true);
    EXPECT_LE(widest.lower(target).scratch_bytes, target.shared_bytes) << device;
  }
}

TEST(GpuCount, SharedTilesMoveWhatTheTileNeeds) {
  for (const std::string& device : kClasses) {
    Target target = target_of(device);
    const kernel::GpuSchedule& s = kernel::gpu_schedule(target);
    if (!s.shared_tiles) continue;
    OpCase c({{"rows", 64}});
    add_matmul(c, 64, 64, 128);
    KernelCount count = count_case(c, target);
    double tiles = 64.0 / s.tile_width * (64.0 / s.tile_height);
    double ideal = tiles * 128 * (s.tile_width * 4.5 / 8 + s.tile_height * 4.0) + 64 * 64 * 4;
    EXPECT_LE(double(count.moved()), 1.2 * ideal) << device;
    EXPECT_EQ(count.conflicts(), 0) << device;
  }
}

// Two of four experts for one row, then the runs of two rows.
TEST(GpuCount, ExpertsReadTheChosenWeightsOnce) {
  constexpr int64_t kRows = 64, kColumns = 256;
  const double ideal = double(kRows * kColumns) * 4.5 / 8;  // of one expert
  for (const std::string& device : kClasses)
    for (bool grouped : {false, true}) {
      const int64_t rows = grouped ? 2 : 1;
      OpCase c({{"rows", rows}});
      const ExpertShape shape{rows, 2, 4, kRows, kColumns};
      add_expert_matmul([&](const std::string&, const auto&) -> OpCase& { return c; }, shape,
                        {kQ4, kernel::kLaneLayout}, grouped ? Slots::kGrouped : Slots::kOfRows);
      const std::vector<int32_t> ids = some_experts(shape);
      const double chosen = double(std::set<int32_t>(ids.begin(), ids.end()).size());
      KernelCount count = count_case(c, target_of(device));
      // Tiles fetch the sectors of scales for some words of a row at a time.
      EXPECT_LE(double(count.find("weight").fetched), (grouped ? 1.2 : 1.02) * chosen * ideal) << device;
      EXPECT_GE(double(count.find("weight").fetched), chosen * ideal) << device << ": all of them are needed";
    }
}

constexpr int64_t kDim = 64;

// One row at the end of `length` tokens, with three query heads for each of two key/value heads.
KernelCount count_attention(int64_t length, const std::string& device) {
  int64_t pages = length / 16;
  OpCase c({{"rows", 1}, {"batch", 1}, {"pages", pages}});
  c.options.min_rows = c.options.max_rows = 1;
  c.state(graph::PagedState::of_heads("kv", 1, 2, kDim, 16, DType::kF16), pages);
  for (float& v : c.states["kv"].values) v = 0.5f;
  std::mt19937 random(1);
  std::vector<int32_t> ids;
  for (int32_t p = 0; p < pages; ++p) ids.push_back(p);
  graph::Value* q = c.matrix(kRows, 6 * kDim, random_floats(6 * kDim, 1, random));
  c.g->attention("kv", 0,
                 {.q = q,
                  .row_sequence = c.indices(kRows, {0}),
                  .limits = c.indices(kRows, {static_cast<int32_t>(length)}),
                  .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, static_cast<int32_t>(pages)}),
                  .page_ids = c.indices(Dim::symbol("pages"), ids)},
                 {.heads = 6, .scale = 0.125});
  return count_case(c, target_of(device));
}

TEST(GpuCount, AttentionReadsEachPageOnceForItsHeads) {
  for (const std::string& device : kClasses) {
    KernelCount count = count_attention(256, device);
    double ideal = 2 * 2 * 256 * kDim * 2;  // K and V of two heads, halves
    EXPECT_LE(double(count.find("cache").fetched), 1.02 * ideal) << device;
    EXPECT_GE(used(count.find("cache")), 0.95) << device;
    EXPECT_EQ(count.divergent, count_attention(512, device).divergent)
        << device << ": lanes part at the end only";
  }
}

TEST(GpuCount, NormsHaveFewBarriersAndNoConflicts) {
  for (const std::string& device : kClasses) {
    OpCase c({{"rows", 1}});
    std::mt19937 random(1);
    c.g->rms_norm(c.matrix(kRows, 1024, random_floats(1024, 1, random)),
                  c.parameter(DType::kF16, {1024}, random_floats(1024, 1, random)), 1e-5);
    Target target = target_of(device);
    KernelCount count = count_case(c, target);
    EXPECT_LE(count.barriers, target.subgroup_size ? 1 : 3) << device;
    EXPECT_EQ(count.conflicts(), 0) << device;
    EXPECT_LE(double(count.find("x").fetched), 1024 * 4.0) << device << ": the row is kept in registers";
  }
}

// A kernel that is bad in every way that is counted.
TEST(GpuCount, SeesWasteConflictsAndDivergence) {
  kernel::KernelBuilder k("bad");
  kernel::BufferRef x = k.input("x", DType::kF32, 32 * 16), y = k.output("y", DType::kF32, 32);
  k.groups(1, 32, 32, [&](kernel::ExprRef, kernel::ExprRef t) {
    kernel::BufferRef s = k.shared("s", DType::kF32, 32 * 32);
    k.store(s, t * 32, k.load(x, t * 16));
    k.barrier();
    k.branch(kernel::less(t, kernel::int_const(5)), [&] { k.store(y, t, k.load(s, t * 32)); });
  });
  kernel::Function f = k.finish();
  std::vector<float> in(32 * 16), out(32);
  std::vector<kernel::HostBuffer> buffers = {{in.data(), 32 * 16 * 4}, {out.data(), 32 * 4}};
  KernelCount c = kernel::count(f, buffers, {});
  EXPECT_EQ(c.find("x").fetched, 32 * 32);
  EXPECT_EQ(c.find("x").fetched_used, 32 * 4);
  EXPECT_EQ(c.find("y").written, 32);
  EXPECT_EQ(c.find("y").written_used, 20);
  EXPECT_EQ(c.conflicts(), 31 + 4);
  EXPECT_EQ(c.barriers, 1);
  EXPECT_EQ(c.divergent, 1);
}

}  // namespace
}  // namespace mlc::testing
